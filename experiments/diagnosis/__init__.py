"""What ``experiments.diagnose`` draws."""
