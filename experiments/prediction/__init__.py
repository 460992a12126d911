"""The parts of ``experiments.predict``: what comes in, how stages overlap, what the model says, what goes out."""
