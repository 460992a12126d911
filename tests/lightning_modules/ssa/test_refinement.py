import math

import pytest
import torch
from torch import Tensor, nn

from datamodules.skeleton import COCO
from lightning_modules.ssa.config import RefinerConfig
from lightning_modules.ssa.decode import People
from lightning_modules.ssa.refinement import (
    PersonRefiner,
    best_places,
    crop,
    crop_windows,
    mask_boxes,
    update_keypoints,
)


def person(*joints: tuple[float, float, float]) -> Tensor:
    return torch.tensor([joints])


@pytest.mark.parametrize("fill", [False, True])
def test_update_rule_joint_by_joint(fill: bool) -> None:
    area, sigma = 1000.0, 0.05
    at_three_quarters = math.sqrt(-math.log(0.75) * 2 * area * (2 * sigma) ** 2)
    found = person((10, 10, 0.5), (10, 10, 0.5), (0, 0, 0), (5, 5, 0.2))
    proposed = person(
        (10 + 0.99 * at_three_quarters, 10, 0.9), (10, 10 - 1.01 * at_three_quarters, 0.9), (40, 41, 0.3), (5, 5, 0)
    )
    updated = update_keypoints(
        found, proposed, torch.tensor([area]), sigmas=torch.full((4,), sigma), agreement=0.75, fill=fill
    )
    expected = found.clone()
    expected[0, 0, 0] = proposed[0, 0, 0]  # agreed: moved, its score kept
    if fill:
        expected[0, 2] = proposed[0, 2]
    torch.testing.assert_close(updated, expected)


def test_boxes_and_areas_of_masks() -> None:
    attention = torch.zeros(2, 4, 6)
    attention[0, 1:3, 2:5] = 1.0
    boxes, areas = mask_boxes(attention, (16, 24), 0.4)  # attention at the masks' own resolution
    assert boxes[0].tolist() == [8, 4, 20, 12]
    assert areas.tolist() == [96, 0]


def test_windows_have_the_crops_aspect_around_the_box() -> None:
    windows = crop_windows(torch.tensor([[10.0, 20.0, 40.0, 60.0], [0.0, 0.0, 60.0, 20.0]]), (256, 192), 1.25)
    torch.testing.assert_close(windows[0], torch.tensor([25 - 18.75, 40 - 25.0, 25 + 18.75, 40 + 25.0]))
    torch.testing.assert_close(windows[1], torch.tensor([30 - 37.5, 10 - 50.0, 30 + 37.5, 10 + 50.0]))


def test_crop_of_whole_pixels_is_a_slice_and_zero_outside() -> None:
    image = torch.rand(3, 20, 30)
    windows = torch.tensor([[4.0, 6.0, 12.0, 14.0], [-4.0, -4.0, 4.0, 4.0]])
    crops = crop(image, windows, (8, 8))
    torch.testing.assert_close(crops[0], image[:, 6:14, 4:12], atol=1e-4, rtol=0)
    torch.testing.assert_close(crops[1, :, 4:, 4:], image[:, :4, :4], atol=1e-4, rtol=0)
    assert crops[1, :, :4].abs().max() < 1e-4


class BrightestPixel(nn.Module):
    """Stands in for the network: joint k is where channel k of the image is brightest."""

    def forward(self, crops: Tensor) -> Tensor:
        pooled = nn.functional.max_pool2d(crops, 4)
        return torch.cat([pooled, pooled.new_zeros(len(crops), 14, *pooled.shape[2:])], dim=1)


def test_people_are_cropped_refined_and_put_back_in_place() -> None:
    image = torch.zeros(1, 3, 128, 128)
    spots = torch.tensor([[70.0, 30.0], [80.0, 60.0], [66.0, 90.0]])
    for channel, (x, y) in enumerate(spots.tolist()):
        image[0, channel, int(y) - 1 : int(y) + 1, int(x) - 1 : int(x) + 1] = 0.8
    attention = torch.zeros(1, 8, 8)
    attention[0, 1:7, 4:6] = 1.0
    keypoints = torch.zeros(1, 17, 3)
    keypoints[0, 0] = torch.tensor([69.0, 31.0, 0.6])
    keypoints[0, 1] = torch.tensor([20.0, 60.0, 0.5])
    people = People(keypoints, torch.tensor([0.4]), attention)
    refine = PersonRefiner(
        BrightestPixel(),
        RefinerConfig(crop_size=[256, 192], flip_test=False),
        sigmas=COCO.sigmas,
        flip_permutation=COCO.flip_permutation,
        fill=True,
        agreement=-1.0,
        mask_threshold=0.4,
    )
    nobody = People(torch.zeros(0, 17, 3), torch.zeros(0), torch.zeros(0, 8, 8))
    refined, still_nobody = refine(image.expand(2, -1, -1, -1), [people, nobody])
    assert (refined.keypoints[0, :3, :2] - spots).abs().max() < 2
    torch.testing.assert_close(refined.keypoints[0, :3, 2], torch.tensor([0.6, 0.5, 0.8]))
    assert refined.scores.item() == pytest.approx(0.4)
    assert (refined.keypoints[0, 3:, 2] == 0).all()
    assert still_nobody is nobody


class LeftHalfIsFirstJoint(nn.Module):
    """Joint 1 (a left eye) fires at a fixed place, whatever it sees: the mirror test must answer with joint 2."""

    def forward(self, crops: Tensor) -> Tensor:
        heatmaps = crops.new_zeros(len(crops), 17, 64, 48)
        heatmaps[:, 1, 20, 10] = 1.0
        return heatmaps


def test_mirror_image_is_mirrored_back_with_sides_swapped() -> None:
    proposed = best_places(LeftHalfIsFirstJoint(), torch.zeros(1, 3, 256, 192), list(COCO.flip_permutation))
    torch.testing.assert_close(proposed[0, 1], torch.tensor([42.0, 82.0, 0.5]))
    torch.testing.assert_close(proposed[0, 2], torch.tensor([192 - 42.0, 82.0, 0.5]))
