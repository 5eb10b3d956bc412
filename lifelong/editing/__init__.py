"""What an editor is, how it is checked, and what several editors share."""
