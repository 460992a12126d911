"""Lightning callbacks, one trick a file."""
