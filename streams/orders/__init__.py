"""The order in which edits come, and which one replaces which."""
