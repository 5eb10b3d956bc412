"""Editors that change weights."""
