import math

import numpy as np
import pytest
import torch

from datamodules.contracts import Meta, Persons, PoseBatch
from lightning_modules.shared.crops import people_of_crops


def crop(degrees: float, factor: float) -> PoseBatch:
    """Crops of 64 × 48 pixels; the photograph's pixels are ``factor`` times as small, turned by ``degrees``."""
    turn = math.radians(degrees)
    rotation = factor * np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    to_original = torch.tensor(np.concatenate([rotation, [[30.0], [40.0]]], axis=1), dtype=torch.float32)
    return PoseBatch(
        images=torch.zeros(2, 3, 64, 64),
        persons=Persons(
            keypoints=torch.zeros(2, 1, 3, 2),
            visibility=torch.zeros(2, 1, 3, dtype=torch.uint8),
            boxes=torch.tensor([4.0, 8.0, 40.0, 48.0]).expand(2, 1, 4),
            areas=torch.ones(2, 1),
            is_real=torch.tensor([[True], [False]]),
        ),
        ignore=torch.zeros(2, 16, 16, dtype=torch.bool),
        instance_masks=None,
        meta=Meta(
            sample_id=torch.tensor([5, 6]),
            image_id=torch.tensor([7, 7]),
            original_hw=torch.tensor([[300, 300]] * 2),
            input_hw=torch.tensor([[64, 48]] * 2),
            to_original=to_original.expand(2, 2, 3),
            detection_score=torch.tensor([0.5, 1.0]),
        ),
    )


@pytest.mark.parametrize(("degrees", "factor"), [(0.0, 1.0), (0.0, 2.5), (30.0, 0.5)])
def test_the_way_to_the_photograph(degrees: float, factor: float) -> None:
    batch = crop(degrees, factor)
    points = torch.tensor([[[1.0, 2.0], [10.0, 0.0], [0.0, 0.0]]]).repeat(2, 1, 1)
    joint_scores = torch.tensor([[0.3, 0.4, 0.5]]).repeat(2, 1)
    people = people_of_crops(points, joint_scores, torch.tensor([0.2, 0.9]), batch)
    turn = complex(math.cos(math.radians(degrees)), math.sin(math.radians(degrees))) * factor
    for joint, place in enumerate([1 + 2j, 10 + 0j, 0j]):
        there = place * turn + (30 + 40j)
        assert people.keypoints[0, 0, joint].tolist() == pytest.approx([there.real, there.imag, 0.3 + 0.1 * joint])
    assert people.scores[:, 0].tolist() == pytest.approx([0.2, 0.9])
    assert people.is_valid.tolist() == [[True], [False]]
    assert people.areas is not None
    assert people.areas[:, 0].tolist() == pytest.approx([64 * 48 * factor**2] * 2)  # padding to 64 × 64 is not its own
    if not degrees:
        assert people.boxes is not None
        expected = np.array([4.0, 8.0, 40.0, 48.0]) * factor + [30, 40, 30, 40]
        assert people.boxes[0, 0].tolist() == pytest.approx(expected)
