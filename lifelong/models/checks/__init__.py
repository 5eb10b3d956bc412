"""Whether a model answers through the door as it does through transformers alone."""
