import numpy as np
import pytest
import torch

from datamodules.contracts import Meta, Persons, PoseBatch
from datamodules.skeleton import COCO
from lightning_modules.shared.oks import SuppressDuplicates
from lightning_modules.ssn.config import DecodeConfig, SubPixel
from lightning_modules.ssn.criterion import Criterion
from lightning_modules.ssn.decode import decode
from lightning_modules.ssn.network import Output
from lightning_modules.ssn.targets import encode_targets

HW = (128, 96)
MAP = (32, 24)


def crops(count: int = 4) -> PoseBatch:
    """Crops with all keypoints away from the border, cut from photographs by scale 2 and a shift."""
    torch.manual_seed(0)
    keypoints = torch.rand(count, 1, 17, 2) * torch.tensor([48.0, 80.0]) + 24
    to_original = torch.tensor([[2.0, 0.0, 10.0], [0.0, 2.0, -30.0]]).expand(count, 2, 3)
    return PoseBatch(
        images=torch.zeros(count, 3, *HW),
        persons=Persons(
            keypoints=keypoints,
            visibility=torch.full((count, 1, 17), 2, dtype=torch.uint8),
            boxes=torch.tensor([8.0, 12.0, 80.0, 100.0]).expand(count, 1, 4),
            areas=torch.full((count, 1), 3000.0),
            is_real=torch.ones(count, 1, dtype=torch.bool),
        ),
        ignore=torch.zeros(count, *MAP, dtype=torch.bool),
        instance_masks=None,
        meta=Meta(
            sample_id=torch.arange(count),
            image_id=torch.arange(count) // 2,
            original_hw=torch.tensor([[300, 300]] * count),
            input_hw=torch.tensor([HW] * count),
            to_original=to_original,
            detection_score=torch.linspace(0.5, 1.0, count),
        ),
    )


@pytest.mark.parametrize(("sub_pixel", "cells"), [("argmax", 0.5), ("quarter", 0.25), ("dark", 0.05)])
def test_encode_then_decode(sub_pixel, cells):
    batch = crops()
    heatmap = encode_targets(batch.persons, MAP, 2.0).heatmap_s4
    found = decode(heatmap, batch, DecodeConfig(sub_pixel=SubPixel[sub_pixel]), 2.0)
    expected = batch.persons.keypoints * 2 + torch.tensor([10.0, -30.0])
    error = (found.keypoints[..., :2] - expected).abs()
    assert error.max() <= cells * 4 * 2 + 1e-3
    torch.testing.assert_close(found.boxes, torch.tensor([[[26.0, -6.0, 170.0, 170.0]]]).expand(4, 1, 4))


def test_the_target_of_the_mirror_image_is_the_mirrored_target():
    persons = crops().persons
    mirrored = persons._replace(keypoints=torch.tensor([96.0, 0.0]) - persons.keypoints * torch.tensor([1.0, -1.0]))
    torch.testing.assert_close(
        encode_targets(mirrored, MAP, 2.0).heatmap_s4, encode_targets(persons, MAP, 2.0).heatmap_s4.flip(-1)
    )


def test_what_is_not_labelled_has_neither_heat_nor_weight():
    persons = crops().persons
    persons.visibility[0, 0, 3] = 0
    persons.visibility[0, 0, 4] = 1
    persons.is_real[1] = False
    targets = encode_targets(persons, MAP, 2.0)
    expected = torch.ones(4, 17)
    expected[0, 3] = expected[1] = 0
    assert torch.equal(targets.weight, expected)
    assert torch.equal(targets.heatmap_s4.amax((2, 3)) > 0.9, expected > 0)


@pytest.mark.parametrize("sigma", [1.0, 2.0, 3.0])
def test_joints_outside_the_map_are_taught_as_far_as_their_gaussian_reaches(sigma):
    """Against pixels one by one in f64: the part inside, and weight 1, up to 3σ beyond the outermost cells."""
    reach = 3 * sigma
    cells = [
        (-2.0, 10.0),
        (MAP[1] + 1.0, 31.5),
        (5.0, -reach + 0.01),
        (MAP[1] - 1 + reach - 0.01, -0.5),
        (-reach - 0.01, 10.0),
        (5.0, MAP[0] - 1 + reach + 0.01),
        (-400.0, 900.0),
    ]
    persons = crops(1).persons
    persons.keypoints[0, 0, : len(cells)] = 4 * (torch.tensor(cells) + 0.5)
    targets = encode_targets(persons, MAP, sigma)
    assert targets.weight[0].tolist() == [1, 1, 1, 1, 0, 0, 0] + [1] * 10
    for heat, weight, (x, y) in zip(targets.heatmap_s4[0], targets.weight[0], cells, strict=False):
        expected = [
            [np.exp(-((i - x) ** 2 + (j - y) ** 2) / (2 * sigma**2)) * float(weight) for i in range(MAP[1])]
            for j in range(MAP[0])
        ]
        np.testing.assert_allclose(heat.double(), expected, atol=1e-5)
        assert bool(heat.any()) == bool(weight)


def test_scores():
    batch = crops(2)
    heatmap = torch.zeros(2, 17, *MAP)
    heatmap[0, :2, 5, 5] = torch.tensor([0.8, 0.4])
    heatmap[0, 2, 5, 5] = 0.1  # below the threshold
    found = decode(heatmap, batch, DecodeConfig(), 2.0)
    torch.testing.assert_close(found.scores, torch.tensor([[0.5 * 0.6], [0.0]]))
    assert found.keypoints[0, 0, :3, 2].tolist() == pytest.approx([0.8, 0.4, 0.1])
    boxes_only = decode(heatmap, batch, DecodeConfig(rescore_threshold=1.0), 2.0)
    torch.testing.assert_close(boxes_only.scores, torch.tensor([[0.5], [1.0]]))


def test_every_predictor_learns_and_nobody_labelled_is_zero():
    batch = crops()
    targets = encode_targets(batch.persons, MAP, 2.0)
    maps = torch.randn(4, 3, 17, *MAP, requires_grad=True)
    loss = Criterion()(Output(maps[:, 0], maps), targets)["heatmap"]
    by_hand = 0.5 * (maps - targets.heatmap_s4[:, None]).square().mean()
    torch.testing.assert_close(loss, by_hand)
    (gradient,) = torch.autograd.grad(loss, maps)
    assert (gradient.abs().amax((0, 2, 3, 4)) > 0).all()
    nobody = targets._replace(weight=torch.zeros(4, 17))
    loss = Criterion()(Output(maps[:, 0], maps), nobody)["heatmap"]
    assert loss == 0
    assert torch.equal(torch.autograd.grad(loss, maps)[0], torch.zeros_like(maps))


def test_duplicates_of_one_photograph_go():
    keypoints = np.concatenate([crops().persons.keypoints[:2, 0].numpy(), np.ones((2, 17, 1), np.float32)], axis=2)
    keypoints = np.concatenate([keypoints, keypoints[:1] + 0.01])
    stays = SuppressDuplicates(COCO, 0.9)(
        keypoints, np.array([0.5, 0.6, 0.7], np.float32), np.array([3000.0] * 3, np.float32)
    )
    assert stays.tolist() == [False, True, True]
    alone = SuppressDuplicates(COCO, 0.9)(keypoints[:1], np.ones(1, np.float32), np.ones(1, np.float32))
    assert alone.tolist() == [True]
    nobody = SuppressDuplicates(COCO, 0.9)(keypoints[:0], np.zeros(0, np.float32), np.zeros(0, np.float32))
    assert nobody.shape == (0,)
