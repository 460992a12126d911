"""What ``experiments.report`` is made of: the results store, whose row a run is, and the formats of a table."""
