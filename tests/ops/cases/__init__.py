"""What every op is tried on: by group, as in the package's handlers."""
