"""What ``experiments.export`` is made of: a checkpoint as a graph, and the comparison with PyTorch."""
