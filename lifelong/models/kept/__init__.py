"""What was read and is not read again: states of a layer, readings up to a layer, answers that were begun."""
