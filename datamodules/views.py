"""The dataset of each view."""

from __future__ import annotations

from collections.abc import Callable

from datamodules.annotations import Annotations
from datamodules.config import DataConfig, View
from datamodules.image_dataset import ImageDataset
from datamodules.main_person_dataset import main_person_view
from datamodules.person_dataset import PersonDataset
from datamodules.skeleton import Skeleton

DATASETS: dict[View, Callable[..., ImageDataset]] = {
    View.image: ImageDataset,
    View.person: PersonDataset,
    View.main_person: main_person_view,
}
"""Constructed as ``(annotations, config, skeleton, train=…, seed=…)``."""


def build_dataset(
    annotations: Annotations, config: DataConfig, skeleton: Skeleton, *, train: bool, seed: int = 0
) -> ImageDataset:
    """The dataset of ``config.view``."""
    return DATASETS[config.view](annotations, config, skeleton, train=train, seed=seed)
