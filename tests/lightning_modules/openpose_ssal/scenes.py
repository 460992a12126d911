"""Random people for the tests of targets and decoding."""

import torch

from datamodules.contracts import Meta, Persons, PoseBatch


def make_batch(keypoints, visibility, size=(64, 96), ignore=None) -> PoseBatch:
    """A batch of [B, P, K, 2] keypoints at a height and width without padding."""
    batch, people = visibility.shape[:2]
    height, width = size
    keypoints = keypoints * (visibility > 0)[..., None]
    hw = torch.tensor([size]).repeat(batch, 1)
    return PoseBatch(
        images=torch.zeros(batch, 3, height, width),
        persons=Persons(
            keypoints,
            visibility,
            torch.zeros(batch, people, 4),
            torch.ones(batch, people),
            (visibility > 0).any(-1),
        ),
        ignore=torch.zeros(batch, height // 4, width // 4, dtype=torch.bool) if ignore is None else ignore,
        instance_masks=None,
        meta=Meta(
            torch.arange(batch),
            torch.arange(batch),
            hw,
            hw,
            torch.eye(2, 3).repeat(batch, 1, 1),
            torch.ones(batch),
        ),
    )


def random_batch(seed, batch=2, people=3, size=(64, 96), labelled=0.8) -> PoseBatch:
    generator = torch.Generator().manual_seed(seed)
    extent = torch.tensor([size[1], size[0]])
    keypoints = torch.rand(batch, people, 17, 2, generator=generator) * extent
    visibility = 2 * (torch.rand(batch, people, 17, generator=generator) < labelled).to(torch.uint8)
    return make_batch(keypoints, visibility, size)


_COCO_POSE = torch.tensor(
    [
        [0.50, 0.08], [0.55, 0.05], [0.45, 0.05], [0.60, 0.07], [0.40, 0.07], [0.72, 0.22], [0.28, 0.22], [0.82, 0.40],
        [0.18, 0.40], [0.88, 0.56], [0.12, 0.56], [0.64, 0.56], [0.36, 0.56], [0.66, 0.76], [0.34, 0.76], [0.67, 0.97],
        [0.33, 0.97],
    ]
)  # fmt: skip


def standing_people(centres, heights, seed=0, jitter=0.0) -> torch.Tensor:
    """Upright people [P, 17, 2], facing the camera: their left is on the image's right."""
    generator = torch.Generator().manual_seed(seed)
    people = []
    for (x, y), height in zip(centres, heights, strict=True):
        pose = (_COCO_POSE - 0.5) * torch.tensor([0.5, 1.0]) * height
        people.append(pose + torch.tensor([x, y]) + jitter * torch.randn(17, 2, generator=generator))
    return torch.stack(people)
