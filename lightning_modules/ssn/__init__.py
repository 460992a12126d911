"""Spatial Shortcut Network (Qi et al., 2019): feature shifting modules with correlation attention."""
