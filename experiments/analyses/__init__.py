"""The papers' own figures, one file a paper."""
