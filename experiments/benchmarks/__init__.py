"""Hot paths against their naive form, in one run, as ratios."""
