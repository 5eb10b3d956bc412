"""Tiny random instances of the model families of the field, written into folders as a user has them on disk."""
