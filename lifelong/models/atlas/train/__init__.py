"""Training of the embedded model from the atlas alone: tower, feature cache, language model, export.

Nothing here is imported when the model is used; `python -m lifelong.models.atlas.train` runs it.
"""
