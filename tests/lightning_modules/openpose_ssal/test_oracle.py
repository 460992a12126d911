import pytest
import torch

from datamodules.skeleton import COCO
from lightning_modules.openpose_ssal.config import Config, DecodeConfig
from lightning_modules.openpose_ssal.oracle import joint_errors, rows
from tests.lightning_modules.openpose_ssal.scenes import make_batch, standing_people

SIZE = (320, 320)


def lone_people(count=10):
    """People of 170 to 230 px, one an image, at random places."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.rand(count, 2, generator=generator) * 40 + 140
    heights = torch.rand(count, generator=generator) * 60 + 170
    people = [
        standing_people([centre.tolist()], [height.item()], seed=i, jitter=4.0)
        for i, (centre, height) in enumerate(zip(centres, heights, strict=True))
    ]
    return make_batch(torch.stack(people), torch.full((count, 1, 17), 2, dtype=torch.uint8), SIZE)


def mean_error(predictions, batch):
    best = predictions.keypoints[:, 0]
    found = best[..., 2] > 0
    return (best[..., :2] - batch.persons.keypoints[:, 0]).norm(dim=-1)[found].mean().item()


def test_a_cells_centre_is_off_by_the_mean_distance_within_a_square_and_offsets_take_it_away():
    batch = lone_people()
    decoders = rows(Config(decode=DecodeConfig(scales=[1.0])), COCO)
    assert len(decoders) == 9
    # The mean distance of a point of the unit square to its centre is 0.3826: 3.06 px of 8, 6.12 px of 16.
    assert mean_error(decoders["f_d = 8, cell centres"](batch), batch) == pytest.approx(0.3826 * 8, abs=0.25)
    assert mean_error(decoders["f_d = 16, cell centres"](batch), batch) == pytest.approx(0.3826 * 16, abs=0.5)
    for downsampling in (8, 16):
        assert mean_error(decoders[f"f_d = {downsampling}, block offsets"](batch), batch) < 1e-3
    assert 0 < mean_error(decoders["f_d = 8, enlarged heatmaps"](batch), batch) < 2


def test_joint_errors_leave_assembly_out():
    """Of each row: the distance within a cell, in pixels of the input, whoever a joint is given to."""
    batch = lone_people()
    measures = joint_errors(Config(decode=DecodeConfig(scales=[1.0])), COCO)
    for cell in (8, 16, 32):
        centres = measures[f"f_d = {cell}, cell centres"](batch)
        points = batch.persons.keypoints[:, 0]
        own = ((points / cell).floor() + 0.5) * cell
        expected = (points - own).norm(dim=-1)
        assert len(centres) == 17 * len(points)
        assert centres.mean().item() == pytest.approx(expected.mean().item(), abs=1e-4)
        assert measures[f"f_d = {cell}, block offsets"](batch).max() < 1e-3


def test_joint_errors_without_anybody():
    nobody = make_batch(torch.zeros(2, 0, 17, 2), torch.zeros(2, 0, 17, dtype=torch.uint8), SIZE)
    for measure in joint_errors(Config(decode=DecodeConfig(scales=[1.0])), COCO).values():
        assert measure(nobody).shape == (0,)
