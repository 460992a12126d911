"""The ceilings: refinement restores joints exactly, decoding alone loses what its grid loses."""

import torch

from datamodules.contracts import Meta, Persons, PoseBatch
from datamodules.skeleton import COCO
from lightning_modules.graph_pcnn.config import Config
from lightning_modules.graph_pcnn.oracle import rows


def test_true_offsets_restore_the_joints():
    generator = torch.Generator().manual_seed(0)
    size = torch.tensor([96.0, 128.0])
    keypoints = torch.rand(8, 1, 17, 2, generator=generator) * size
    visibility = torch.randint(0, 3, (8, 1, 17), generator=generator, dtype=torch.uint8)
    keypoints = keypoints * (visibility > 0)[..., None]
    boxes = torch.tensor([0.0, 0.0, 96.0, 128.0]).expand(8, 1, 4)
    ids, hw = torch.arange(8), torch.tensor([[128, 96]]).expand(8, 2)
    affine = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]).expand(8, 2, 3)
    batch = PoseBatch(
        torch.zeros(8, 3, 128, 96),
        Persons(keypoints, visibility, boxes, torch.ones(8, 1), torch.ones(8, 1).bool()),
        torch.zeros(8, 32, 24).bool(),
        None,
        Meta(ids, ids, hw, hw, affine, torch.ones(8)),
    )
    labelled = visibility[:, 0] > 0
    error = {
        name: (decode(batch).keypoints[:, 0, :, :2] - keypoints[:, 0])[labelled].norm(dim=-1)
        for name, decode in rows(Config(sigma=1.0), COCO).items()
    }
    refined = error.pop("stage 2, true offsets at the decoded peak")
    assert refined.max() < 1e-4
    assert all(loss.mean() > 0.05 for loss in error.values())
    # A Gaussian on the nearest cell is off by up to half a cell along each axis: 1.53 px on average.
    assert 1.2 < error["stage 1, rounded Gaussian, quarter"].mean() < 1.8
    assert error["stage 1, exact Gaussian, dark"].mean() < error["stage 1, exact Gaussian, quarter"].mean()
