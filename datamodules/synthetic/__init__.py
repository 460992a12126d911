"""Rendered people in COCO format: the data that is there before any download. Needs NumPy and OpenCV, not torch."""

from datamodules.synthetic.dataset import make_dataset, rendered_root
from datamodules.synthetic.scene import Person, Scene, render_scene

__all__ = ["Person", "Scene", "make_dataset", "render_scene", "rendered_root"]
