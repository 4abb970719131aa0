"""What the service takes and gives."""
