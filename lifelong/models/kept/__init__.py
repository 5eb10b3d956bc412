"""What was read and is not read again."""
