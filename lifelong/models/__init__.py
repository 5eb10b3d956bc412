"""Models that can be edited; the only folder that imports transformers."""
