"""Commands: python -m experiments.<name>."""
