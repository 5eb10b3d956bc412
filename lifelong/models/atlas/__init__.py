"""The embedded model and its examination."""
