"""Memories of facts told in the prompt."""
