import math

import pytest
import torch

from datamodules.skeleton import COCO
from lightning_modules.openpose_ssal.config import Config, NetworkConfig, PafOverlap
from lightning_modules.openpose_ssal.parts import keypoints_to_parts, parts_of
from lightning_modules.openpose_ssal.targets import affinity_fields, encode_targets
from tests.lightning_modules.openpose_ssal.scenes import make_batch, random_batch

PARTS = parts_of(COCO)


def config(downsampling=8, **changes) -> Config:
    return Config(network=NetworkConfig(downsampling=downsampling), **changes)


def loop_targets(batch, cell, average):
    """Every target of the first image by one loop over parts, people and cells, in float64."""
    points, labelled = keypoints_to_parts(batch.persons.keypoints.double(), batch.persons.visibility, PARTS)
    points, labelled = points[0], labelled[0]
    height, width = (side // cell for side in batch.images.shape[-2:])
    heat = torch.zeros(18, height, width)
    offsets = torch.zeros(18, 2, height, width)
    pafs = torch.zeros(19, 2, height, width)
    attention = torch.zeros(19, height, width)
    scale = cell / 8
    for i in range(height):
        for j in range(width):
            x, y = (j + 0.5) * cell, (i + 0.5) * cell
            for part in range(18):
                nearest = math.inf
                for person in range(len(points)):
                    if not labelled[person, part]:
                        continue
                    px, py = points[person, part].tolist()
                    distance = (px - x) ** 2 + (py - y) ** 2
                    value = math.exp(-distance / (2 * (7 * scale) ** 2))
                    heat[part, i, j] = max(heat[part, i, j].item(), value)
                    if distance < nearest:
                        nearest = distance
                        offsets[part, 0, i, j] = max(-0.5, min(0.5, (px - x) / cell))
                        offsets[part, 1, i, j] = max(-0.5, min(0.5, (py - y) / cell))
            for limb, (a, b) in enumerate(PARTS.limbs):
                crossing = []
                for person in range(len(points)):
                    if not (labelled[person, a] and labelled[person, b]):
                        continue
                    (ax, ay), (bx, by) = points[person, a].tolist(), points[person, b].tolist()
                    length = math.hypot(bx - ax, by - ay)
                    ux, uy = (bx - ax) / length, (by - ay) / length
                    reach = 8 * scale
                    in_box = min(ax, bx) - reach <= x <= max(ax, bx) + reach
                    in_box = in_box and min(ay, by) - reach <= y <= max(ay, by) + reach
                    if in_box and abs((x - ax) * uy - (y - ay) * ux) <= reach:
                        crossing.append((ux, uy))
                    along = max(0.0, min(length, (x - ax) * ux + (y - ay) * uy))
                    distance = (x - ax - along * ux) ** 2 + (y - ay - along * uy) ** 2
                    sigma = max(length / (4 * cell), 0.5) * cell
                    value = math.exp(-distance / sigma**2)
                    attention[limb, i, j] = max(attention[limb, i, j].item(), value)
                if crossing:
                    chosen = [sum(c) / len(crossing) for c in zip(*crossing, strict=True)] if average else crossing[-1]
                    pafs[limb, :, i, j] = torch.tensor(chosen)
    return heat, offsets, pafs, attention


@pytest.mark.parametrize(("cell", "average"), [(8, False), (16, True)])
def test_every_target_against_a_loop_over_cells(cell, average):
    batch = random_batch(3, people=4)
    overlap = PafOverlap.average if average else PafOverlap.overwrite
    targets = encode_targets(batch, PARTS, config(cell, paf_overlap=overlap))
    heat, offsets, pafs, attention = loop_targets(batch, cell, average)
    torch.testing.assert_close(targets.heatmaps[0, :-1], heat, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(targets.heatmaps[0, -1], 1 - heat.amax(0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(targets.offsets[0], offsets, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(targets.pafs[0], pafs, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(targets.attention[0], attention, rtol=1e-4, atol=1e-5)
    assert targets.on_limb[0].equal(pafs.abs().sum(1) > 0)


def test_image_of_the_mirrored_people_is_the_mirror_image_with_sides_swapped():
    batch = random_batch(5)
    people = batch.persons
    flip = torch.tensor(COCO.flip_permutation)
    mirrored = people.keypoints[:, :, flip] * torch.tensor([-1.0, 1.0]) + torch.tensor([96.0, 0.0])
    targets = encode_targets(batch, PARTS, config())
    other = encode_targets(make_batch(mirrored, people.visibility[:, :, flip]), PARTS, config())
    parts, limbs = torch.tensor(PARTS.part_partners), torch.tensor(PARTS.limb_partners)
    sign = torch.tensor([-1.0, 1.0]).view(2, 1, 1)
    close = {"rtol": 1e-4, "atol": 1e-4}
    torch.testing.assert_close(other.heatmaps[:, :-1], targets.heatmaps[:, parts].flip(-1), **close)
    torch.testing.assert_close(other.offsets, targets.offsets[:, parts].flip(-1) * sign, **close)
    torch.testing.assert_close(other.pafs, targets.pafs[:, limbs].flip(-1) * sign, **close)
    torch.testing.assert_close(other.attention, targets.attention[:, limbs].flip(-1), **close)


@pytest.mark.parametrize("cell", [8, 16, 32])
def test_every_joint_has_a_gated_cell(cell):
    points = torch.rand(200, 1, 17, 2, generator=torch.Generator().manual_seed(0)) * 64
    batch = make_batch(points, torch.full((200, 1, 17), 2, dtype=torch.uint8), size=(64, 64))
    heat = encode_targets(batch, PARTS, config(cell)).heatmaps[:, :-1]
    assert heat.flatten(2).amax(2).min() > 0.4


def test_padded_people_change_nothing_and_nobody_is_all_background():
    batch = random_batch(7)
    persons = batch.persons._replace(is_real=torch.tensor([[True, False, False]] * 2))
    alone = persons._replace(**{name: getattr(persons, name)[:, :1] for name in persons._fields})
    few = encode_targets(batch._replace(persons=persons), PARTS, config())
    one = encode_targets(batch._replace(persons=alone), PARTS, config())
    assert all(a.equal(b) for a, b in zip(few, one, strict=True))
    none = persons._replace(**{name: getattr(persons, name)[:, :0] for name in persons._fields})
    empty = encode_targets(batch._replace(persons=none), PARTS, config())
    assert (empty.heatmaps[:, -1] == 1).all()
    assert not any(field.any() for field in (empty.heatmaps[:, :-1], empty.pafs, empty.offsets, empty.attention))
    assert [field.shape for field in empty] == [field.shape for field in one]


def test_limb_of_length_zero_has_no_field():
    point = torch.full((1, 1, 1, 2), 12.0)
    x = torch.arange(4) * 8.0 + 4
    fields, on_limb = affinity_fields(x, x, point, point, torch.ones(1, 1, 1, dtype=torch.bool), 8.0, False)
    assert not fields.any()
    assert not on_limb.any()


def test_ignored_cells_are_not_learnt():
    ignore = torch.zeros(1, 16, 24, dtype=torch.bool)
    ignore[:, 2:4, 4:6] = True  # one cell of 8 px
    ignore[:, 8, 8] = True  # a quarter of a cell
    batch = random_batch(1, batch=1)._replace(ignore=ignore)
    learnt = encode_targets(batch, PARTS, config()).learnt
    assert (~learnt).nonzero().tolist() == [[0, 0, 1, 2]]


def test_nothing_is_copied_from_the_host(monkeypatch):
    """A tensor made of Python numbers is a copy that a GPU's host waits for, in every step."""
    batch = random_batch(0)

    def refuse(*_, **__):
        raise AssertionError("a tensor out of host memory")

    for name in ("tensor", "as_tensor", "from_numpy"):
        monkeypatch.setattr(torch, name, refuse)
    encode_targets(batch, PARTS, config())
