"""Every table of every paper, one YAML file per paper; ``loader`` reads them."""
