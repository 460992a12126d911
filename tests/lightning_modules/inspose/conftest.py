"""Small random batches and a small model."""

from collections.abc import Callable

import pytest
import torch

from datamodules.contracts import Meta, Persons, PoseBatch
from lightning_modules.inspose.config import Config
from lightning_modules.shared.config import BackboneConfig


def make_batch(
    batch: int = 2,
    persons: int = 3,
    height: int = 128,
    width: int = 160,
    keypoints: int = 17,
    input_hw: list[tuple[int, int]] | None = None,
    labelled: float = 0.7,
    seed: int = 0,
) -> PoseBatch:
    """People of many sizes, partly labelled; padding is ignored and the rest is not."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator)

    inside = torch.tensor(input_hw or [(height, width)] * batch)
    extent = inside.flip(-1).float().view(batch, 1, 1, 2)
    center, size = random(batch, persons, 1, 2) * extent, (0.1 + 0.6 * random(batch, persons, 1, 1)) * extent
    points = (center + (random(batch, persons, keypoints, 2) - 0.5) * size).clamp(min=0)
    points = torch.minimum(points, extent - 0.01)
    visibility = torch.where(random(batch, persons, keypoints) < labelled, 2, 0).to(torch.uint8)
    visibility[random(batch, persons, keypoints) < 0.2] //= 2
    points = points * (visibility > 0).unsqueeze(-1)
    boxes = torch.cat([(center - size / 2)[:, :, 0], (center + size / 2)[:, :, 0]], dim=-1).clamp(min=0)
    boxes = torch.minimum(boxes, extent[:, :, 0].repeat(1, 1, 2))
    rows, columns = torch.arange(-(-height // 4)) * 4, torch.arange(-(-width // 4)) * 4
    padding = (rows[:, None] >= inside[:, 0, None, None]) | (columns[None] >= inside[:, 1, None, None])
    images = torch.randn(batch, 3, height, width, generator=generator)
    images = images * (~padding).repeat_interleave(4, 1).repeat_interleave(4, 2)[:, None, :height, :width]
    return PoseBatch(
        images=images,
        persons=Persons(points, visibility, boxes, boxes.new_ones(batch, persons), torch.ones(batch, persons).bool()),
        ignore=padding,
        instance_masks=None,
        meta=Meta(
            sample_id=torch.arange(batch),
            image_id=torch.arange(batch) + 100,
            original_hw=inside,
            input_hw=inside,
            to_original=torch.eye(2, 3).repeat(batch, 1, 1),
            detection_score=torch.ones(batch),
        ),
    )


def small_config(**changes: object) -> Config:
    """A model of some 300,000 parameters with every branch."""
    return Config(
        **{
            "backbone": BackboneConfig(name="mobilenetv3_small_050", weights=None, frozen_stages=0),
            "fpn_channels": 16,
            "tower_channels": 16,
            "tower_depth": 1,
            "feature_channels": 16,
            "feature_depth": 1,
            "disk_channels": 16,
            "heatmap_channels": 16,
            "max_positives": 12,
            **changes,
        }
    )


@pytest.fixture(name="make_batch")
def _make_batch() -> Callable[..., PoseBatch]:
    return make_batch


@pytest.fixture(name="small_config")
def _small_config() -> Callable[..., Config]:
    return small_config
