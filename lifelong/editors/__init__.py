"""The editors: one module (or folder, where one trains) per editor, found by its name."""
