from collections.abc import Callable
from typing import Any

import pytest
import torch

from datamodules.contracts import Persons, PoseBatch
from datamodules.skeleton import COCO
from lightning_modules.inspose.config import Config
from lightning_modules.inspose.locations import level_shapes, map_shape
from lightning_modules.inspose.targets import Targets, disk_offsets, encode_targets, keypoint_cells, radii
from lightning_modules.shared.gaussians import gaussian_radius

Make = Callable[..., Any]


def test_cells_by_loop_and_at_the_border() -> None:
    keypoints = torch.tensor([[[[0.0, 0.0], [7.99, 8.0], [100.0, 64.0], [99.9, 63.9]]]])
    cells = keypoint_cells(keypoints, torch.tensor([[64, 100]]), 8)
    # x = W would be column 12 of 13 at stride 8 anyway, y = H must stay in row 7 of 8
    assert cells[0, 0].tolist() == [[0, 0], [0, 1], [12, 7], [12, 7]]
    assert keypoint_cells(torch.tensor([[[[96.0, 3.0]]]]), torch.tensor([[64, 96]]), 8)[0, 0].tolist() == [[11, 0]]


@pytest.mark.parametrize("keeps_cell", [True, False])
def test_disk_offsets_by_loop(keeps_cell: bool) -> None:
    torch.manual_seed(11)
    batch, persons, keypoints, height, width = 2, 4, 3, 9, 11
    positions = torch.rand(batch, persons, keypoints, 2) * torch.tensor([width, height])
    cells, labelled = positions.floor().long(), torch.rand(batch, persons, keypoints) < 0.8
    radius = torch.randint(0, 4, (batch, persons)).float()
    config = Config(disk_keeps_cell=keeps_cell)
    offsets, mask = disk_offsets(positions, cells, labelled, radius, (height, width), config)
    for b in range(batch):
        for k in range(keypoints):
            for y in range(height):
                for x in range(width):
                    best = None
                    for p in range(persons):
                        px, py = positions[b, p, k].tolist()
                        distance = ((x + 0.5 - px) ** 2 + (y + 0.5 - py) ** 2) ** 0.5
                        own = keeps_cell and cells[b, p, k].tolist() == [x, y]
                        if labelled[b, p, k] and (distance <= radius[b, p] or own):
                            best = min(best or (distance, px, py), (distance, px, py))
                    assert mask[b, k, y, x].item() == (best is not None)
                    expected = [0.0, 0.0] if best is None else [best[1] - x, best[2] - y]
                    assert offsets[b, k, :, y, x].tolist() == pytest.approx(expected, abs=1e-5)


def test_radii_follow_the_pseudo_box() -> None:
    sizes = torch.tensor([[[37.5, 18.75], [1.0, 1.0], [500.0, 500.0]]])
    found = radii(sizes, Config())
    assert found[0].tolist() == [float(gaussian_radius(sizes[0, 0, 0], sizes[0, 0, 1], 0.9).floor()), 0.0, 3.0]
    assert radii(sizes, Config(max_radius=1))[0].tolist() == [1.0, 0.0, 1.0]


def test_every_person_has_a_location_even_with_one_keypoint(make_batch: Make) -> None:
    batch = make_batch(persons=2, labelled=0.0)
    batch.persons.keypoints[:, 0, 4] = torch.tensor([50.0, 70.0])
    batch.persons.keypoints[:, 1, 9] = torch.tensor([159.9, 0.1])
    batch.persons.visibility[:, 0, 4] = 1
    batch.persons.visibility[:, 1, 9] = 2
    targets = encode_targets(batch, Config())
    assert [set(row.tolist()) for row in targets.person_index] == [{-1, 0, 1}] * 2


def test_hidden_keypoints_count_and_unreal_people_do_not(make_batch: Make) -> None:
    batch = make_batch()
    targets = encode_targets(batch, Config())
    assert torch.equal(targets.is_labelled, batch.persons.visibility > 0)
    unreal = batch._replace(persons=batch.persons._replace(is_real=torch.zeros(2, 3, dtype=torch.bool)))
    targets = encode_targets(unreal, Config())
    assert not targets.is_labelled.any()
    assert (targets.person_index == -1).all()
    assert targets.disk_mask is not None
    assert not targets.disk_mask.any()
    assert targets.heatmap_s8 is not None
    assert not targets.heatmap_s8.any()


def test_ignored_regions_and_padding(make_batch: Make) -> None:
    batch = make_batch(batch=1, persons=1, labelled=0.0, input_hw=[(96, 100)])
    batch.ignore[0, :8, :8] = True
    shapes = level_shapes((128, 160))
    p3 = encode_targets(batch, Config()).is_learnt[0, : shapes[0][0] * shapes[0][1]].view(shapes[0])
    expected = torch.zeros(16, 20, dtype=torch.bool)
    expected[:12, :12] = True  # centres inside 96 × 100; the column centred at 100 lies on the border
    expected[:4, :4] = False
    assert torch.equal(p3, expected)
    everywhere = encode_targets(batch, Config(ignore_regions=False))
    assert everywhere.is_learnt[0, 0]
    assert not everywhere.is_learnt[0, 19]


def test_positives_are_learnt_even_where_ignored(make_batch: Make) -> None:
    batch = make_batch()
    batch.ignore[:] = True
    targets = encode_targets(batch, Config())
    assert torch.equal(targets.is_learnt, targets.person_index >= 0)
    assert targets.heatmap_mask_s8 is not None
    assert targets.heatmap_s8 is not None
    assert torch.equal(targets.heatmap_mask_s8, targets.heatmap_s8 == 1)


def test_with_boxes_people_without_keypoints_are_detected(make_batch: Make) -> None:
    batch = make_batch(labelled=0.0)
    assert (encode_targets(batch, Config()).person_index == -1).all()
    targets = encode_targets(batch, Config(bbox_head=True))
    assert (targets.person_index >= 0).any(dim=1).all()
    assert torch.equal(targets.boxes, batch.persons.boxes)
    assert not targets.is_labelled.any()


def mirrored(batch: PoseBatch) -> PoseBatch:
    width = batch.images.shape[-1]
    swap = list(COCO.flip_permutation)
    persons = batch.persons
    visibility = persons.visibility[:, :, swap]
    keypoints = torch.where((visibility > 0).unsqueeze(-1), persons.keypoints[:, :, swap], 0.0)
    keypoints[..., 0] = torch.where(visibility > 0, width - keypoints[..., 0], 0.0)
    boxes = persons.boxes[..., [2, 1, 0, 3]] * torch.tensor([-1, 1, -1, 1]) + torch.tensor([width, 0, width, 0])
    flipped = Persons(keypoints, visibility, boxes, persons.areas, persons.is_real)
    return batch._replace(images=batch.images.flip(-1), ignore=batch.ignore.flip(-1), persons=flipped)


@pytest.mark.parametrize("stride", [16, 8, 4])
def test_targets_of_the_mirror_image_are_mirrored(make_batch: Make, stride: int) -> None:
    config, swap = Config(map_stride=stride), list(COCO.flip_permutation)
    batch = make_batch(height=128, width=256, persons=4)
    batch = batch._replace(ignore=torch.rand(2, 32, 64) < 0.3)
    plain, flipped = encode_targets(batch, config), encode_targets(mirrored(batch), config)
    sizes = [h * w for h, w in level_shapes((128, 256))]
    for field in ("person_index", "is_learnt"):
        levels = zip(
            getattr(plain, field).split(sizes, 1),
            getattr(flipped, field).split(sizes, 1),
            level_shapes((128, 256)),
            strict=True,
        )
        for a, b, shape in levels:
            assert torch.equal(a.view(2, *shape).flip(-1), b.view(2, *shape)), field
    assert plain.disk_offsets is not None
    assert flipped.disk_offsets is not None
    assert plain.disk_mask is not None
    assert flipped.disk_mask is not None
    assert plain.heatmap_s8 is not None
    assert flipped.heatmap_s8 is not None
    assert torch.equal(plain.disk_mask.flip(-1)[:, swap], flipped.disk_mask)
    expected = plain.disk_offsets.flip(-1)[:, swap].clone()
    expected[:, :, 0] = torch.where(flipped.disk_mask, 1 - expected[:, :, 0], 0.0)
    torch.testing.assert_close(flipped.disk_offsets, expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(flipped.heatmap_s8, plain.heatmap_s8.flip(-1)[:, swap])
    width = map_shape((128, 256), stride)[1]
    a, b, labelled = plain.cells[:, :, swap], flipped.cells, flipped.is_labelled
    assert torch.equal((a // width * width + width - 1 - a % width)[labelled], b[labelled])


@pytest.mark.parametrize("changes", [{}, {"bbox_head": True, "map_stride": 4}])
def test_a_batch_is_its_images_one_by_one(make_batch: Make, changes: dict[str, Any]) -> None:
    config = Config(**changes)
    batch = make_batch(batch=3, input_hw=[(128, 160), (100, 160), (128, 90)])
    together = encode_targets(batch, config)
    for b in range(3):
        one = encode_targets(
            PoseBatch(
                batch.images[b : b + 1],
                Persons(*(value[b : b + 1] for value in batch.persons)),
                batch.ignore[b : b + 1],
                None,
                type(batch.meta)(*(value[b : b + 1] for value in batch.meta)),
            ),
            config,
        )
        for name in Targets._fields:
            whole, single = getattr(together, name), getattr(one, name)
            assert torch.equal(whole[b : b + 1], single), name


def test_a_batch_whose_person_dimension_is_empty(make_batch: Make) -> None:
    batch = make_batch(persons=2)
    empty = batch._replace(persons=Persons(*(value[:, :0] for value in batch.persons)))
    targets = encode_targets(empty, Config())
    assert (targets.person_index == -1).all()
    assert targets.cells.shape == (2, 1, 17)
