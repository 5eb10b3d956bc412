"""Memories behind a scope classifier."""
