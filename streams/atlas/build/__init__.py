"""Rebuilds the atlas pack from named registry packages, byte for byte; knows no questions and no model."""
