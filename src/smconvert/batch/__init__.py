"""Many models in one go: found, converted, checked and reported, whatever kills it on the way."""
