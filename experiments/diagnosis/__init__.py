"""What ``experiments.diagnose`` ends with: a table, and pictures of what costs AP."""
