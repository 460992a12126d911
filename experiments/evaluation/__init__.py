"""What ``experiments.evaluate`` is made of: protocols, figures of checkpoints and files, the published ones beside."""
