"""Rebuilds the atlas pack from named registry packages; knows no questions and no model.

The bytes repeat with the pinned packages, renderer and Pillow (extra `build`): WebP encoders of other
versions write other bytes for the same picture.
"""
