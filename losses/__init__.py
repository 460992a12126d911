"""Losses as standalone modules: tensors in, scalar out; they import torch only."""
