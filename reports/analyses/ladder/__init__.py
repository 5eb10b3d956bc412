"""One editor on models of several sizes: its curves by edits and by budget, and which of them fall together."""
