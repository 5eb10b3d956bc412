"""One forward pass over one batch, and what of it can be left out."""
