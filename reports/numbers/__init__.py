"""The numbers that pictures and pages are made of."""
