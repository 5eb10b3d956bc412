"""The contract of an editor, run."""
