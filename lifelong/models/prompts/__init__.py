"""Words and pictures to tokens."""
