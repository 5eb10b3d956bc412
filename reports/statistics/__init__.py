"""Means, intervals, percentiles and comparisons: statistics that know no editor and no question."""
