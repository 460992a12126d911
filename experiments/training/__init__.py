"""What ``experiments.run`` is made of: a run's folder, the training session in it, and what it ends with."""
