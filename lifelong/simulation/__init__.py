"""Arrivals wait, are served and become visible in simulated time."""
