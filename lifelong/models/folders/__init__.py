"""Folders of models: found, and checked before any library opens them."""
