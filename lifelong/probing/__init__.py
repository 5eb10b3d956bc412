"""Which questions are due, how they are asked and scored, and which answers are not asked again."""
