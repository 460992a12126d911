import dataclasses

import pytest
import torch

from datamodules.skeleton import COCO, Skeleton
from lightning_modules.openpose_ssal.parts import keypoints_to_parts, parts_of, parts_to_keypoints

PARTS = parts_of(COCO)


def test_coco_has_openposes_parts_and_limbs():
    assert (len(PARTS.names), len(PARTS.limbs)) == (18, 19)
    assert PARTS.limbs[9] == (2, 16)
    assert (PARTS.names[2], PARTS.names[16]) == ("right_shoulder", "right_ear")
    assert PARTS.limbs[PARTS.tree[0]] == (1, 2)
    assert [PARTS.limbs[i] for i in PARTS.closing] == [(2, 16), (5, 17)]


FOREST = Skeleton(
    name="forest",
    joints=("tail", "left_paw", "right_paw", "head", "nose"),
    limbs=(("left_paw", "tail"), ("head", "nose"), ("right_paw", "left_paw"), ("tail", "right_paw")),
    sigmas=(0.1,) * 5,
)


@pytest.mark.parametrize("skeleton", [COCO, FOREST], ids=["coco", "forest"])
def test_assembly_order_reaches_each_part_once_from_one_reached_before(skeleton):
    parts = parts_of(skeleton)
    assert sorted(parts.tree + parts.closing) == list(range(len(parts.limbs)))
    ends = [parts.limbs[i][1] for i in parts.tree]
    assert len(set(ends)) == len(ends)
    for step, limb in enumerate(parts.tree):
        start, end = parts.limbs[limb]
        assert end not in {part for i in parts.tree[:step] for part in parts.limbs[i]}
        assert start not in ends[step:]
    reached = {part for i in parts.tree for part in parts.limbs[i]}
    assert all(set(parts.limbs[i]) <= reached for i in parts.closing)


def test_partners_are_involutions_and_mirror_the_names():
    for partners in (PARTS.part_partners, PARTS.limb_partners):
        assert [partners[i] for i in partners] == list(range(len(partners)))
    assert PARTS.names[PARTS.part_partners[3]] == "left_elbow"
    assert PARTS.limb_partners[PARTS.limbs.index((1, 0))] == PARTS.limbs.index((1, 0))
    assert PARTS.limb_partners[PARTS.limbs.index((2, 16))] == PARTS.limbs.index((5, 17))


def test_keypoints_survive_the_way_there_and_back():
    keypoints = torch.rand(2, 3, 17, 2)
    found, labelled = keypoints_to_parts(keypoints, torch.full((2, 3, 17), 2, dtype=torch.uint8), PARTS)
    assert parts_to_keypoints(found, PARTS, 17).equal(keypoints)
    assert labelled.all()
    left, right = COCO.joints.index("left_shoulder"), COCO.joints.index("right_shoulder")
    torch.testing.assert_close(found[:, :, 1], (keypoints[:, :, left] + keypoints[:, :, right]) / 2)


def test_neck_needs_both_shoulders():
    visibility = torch.full((1, 1, 17), 2, dtype=torch.uint8)
    visibility[..., COCO.joints.index("left_shoulder")] = 0
    _, labelled = keypoints_to_parts(torch.rand(1, 1, 17, 2), visibility, PARTS)
    assert [PARTS.names[i] for i in (~labelled[0, 0]).nonzero()[:, 0]] == ["neck", "left_shoulder"]


def test_skeleton_without_limbs_is_refused():
    with pytest.raises(ValueError, match="limbs"):
        parts_of(dataclasses.replace(FOREST, limbs=()))
