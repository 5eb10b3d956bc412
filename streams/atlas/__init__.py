"""The embedded visual world: real drawings and real facts, packed in one file; knows no model."""
