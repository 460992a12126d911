"""What ``experiments.ablate`` is made of: the plan of a table's runs, what it costs, and who runs it."""
