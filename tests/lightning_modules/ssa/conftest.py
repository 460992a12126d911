from collections.abc import Callable
from typing import Any

import pytest
import torch

from datamodules.contracts import Meta, Persons, PoseBatch
from lightning_modules.shared.config import BackboneConfig
from lightning_modules.ssa.config import Config


@pytest.fixture
def make_batch() -> Callable[..., PoseBatch]:
    def make(*, images: int = 2, people: int = 3, height: int = 64, width: int = 64, seed: int = 0) -> PoseBatch:
        """Noise with upright people, 17 joints each somewhere on their own rectangular mask."""
        generator = torch.Generator().manual_seed(seed)
        size = torch.tensor([width, height])
        corner = torch.rand(images, people, 2, generator=generator) * size * 0.5
        extent = size * 0.4
        keypoints = corner[:, :, None] + torch.rand(images, people, 17, 2, generator=generator) * extent
        boxes = torch.cat([corner, corner + extent], dim=2)
        rows, columns = torch.arange(height // 4)[:, None] * 4 + 2, torch.arange(width // 4) * 4 + 2
        x0, y0, x1, y1 = (side[..., None, None] for side in boxes.unbind(2))
        return PoseBatch(
            images=torch.randn(images, 3, height, width, generator=generator),
            persons=Persons(
                keypoints=keypoints,
                visibility=torch.full((images, people, 17), 2, dtype=torch.uint8),
                boxes=boxes,
                areas=extent.prod().expand(images, people).clone(),
                is_real=torch.ones(images, people, dtype=torch.bool),
            ),
            ignore=torch.zeros(images, height // 4, width // 4, dtype=torch.bool),
            instance_masks=(columns >= x0) & (columns < x1) & (rows >= y0) & (rows < y1),
            meta=Meta(
                sample_id=torch.arange(images),
                image_id=torch.arange(images) + 100,
                original_hw=torch.tensor([[height, width]] * images),
                input_hw=torch.tensor([[height, width]] * images),
                to_original=torch.eye(3)[:2].expand(images, 2, 3).contiguous(),
                detection_score=torch.ones(images),
            ),
        )

    return make


@pytest.fixture
def small_config() -> Callable[..., Config]:
    def make(**changes: Any) -> Config:
        config = Config(
            backbone=BackboneConfig("resnet18", weights=None, frozen_stages=0), width=16, feedforward=32, layers=4
        )
        for name, value in changes.items():
            setattr(config, name, value)
        return config

    return make
