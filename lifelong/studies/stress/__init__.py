"""How much a system bears."""
