"""Words in, lines out."""
