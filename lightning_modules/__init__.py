"""One folder per paper, and what two papers share."""
