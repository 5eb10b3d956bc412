"""Rows that come, stay and go."""
