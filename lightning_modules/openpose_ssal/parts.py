"""The parts and limbs that the CMU network predicts, and the way between them and a skeleton's keypoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from datamodules.skeleton import Skeleton, mirror_name


class Parts(NamedTuple):
    """What is predicted, by name and by index.

    Assembly walks ``tree`` in order: a limb's first part is a root or the second part of a limb before, and no part is
    the second one twice. ``closing`` limbs come last; they join people but never create one.
    """

    names: tuple[str, ...]
    keypoints: tuple[int, ...]
    """Index of the skeleton's keypoint for each part, -1 for the neck."""
    shoulders: tuple[int, int] | None
    """Keypoints whose mean is the neck."""
    limbs: tuple[tuple[int, int], ...]
    """Parts at both ends, the parent first: the field points from it to the other."""
    tree: tuple[int, ...]
    """Limbs in the order of assembly."""
    closing: tuple[int, ...]
    """Limbs between parts that the tree has reached already."""

    @property
    def part_partners(self) -> tuple[int, ...]:
        """Left/right counterpart of each part; a part without one is its own."""
        return tuple(self.names.index(mirror_name(name)) for name in self.names)

    @property
    def limb_partners(self) -> tuple[int, ...]:
        """Left/right counterpart of each limb; a limb without one is its own."""
        partners = self.part_partners
        mirrored = [(partners[a], partners[b]) for a, b in self.limbs]
        return tuple(self.limbs.index(limb) if limb in self.limbs else i for i, limb in enumerate(mirrored))


_COCO_NAMES = (
    "nose", "neck",
    "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
    "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle",
    "right_eye", "left_eye", "right_ear", "left_ear",
)  # fmt: skip
_COCO_LIMBS = (
    (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13), (1, 2), (2, 3), (3, 4), (2, 16),
    (1, 5), (5, 6), (6, 7), (5, 17), (1, 0), (0, 14), (0, 15), (14, 16), (15, 17),
)  # fmt: skip
_COCO_TREE = (6, 10, 7, 8, 11, 12, 0, 1, 2, 3, 4, 5, 14, 15, 17, 16, 18)
_COCO_CLOSING = (9, 13)


def parts_of(skeleton: Skeleton) -> Parts:
    """The 18 parts and 19 limbs of OpenPose for COCO's keypoints; for others the skeleton's joints and limbs.

    Raises:
        ValueError: the skeleton has no limbs, so nothing could be assembled.
    """
    if set(skeleton.joints) == set(_COCO_NAMES) - {"neck"}:
        index = skeleton.joints.index
        keypoints = tuple(-1 if name == "neck" else index(name) for name in _COCO_NAMES)
        shoulders = (index("right_shoulder"), index("left_shoulder"))
        return Parts(_COCO_NAMES, keypoints, shoulders, _COCO_LIMBS, _COCO_TREE, _COCO_CLOSING)
    if not skeleton.limbs:
        raise ValueError(f"skeleton {skeleton.name}: openpose_ssal assembles people along limbs; name some")
    limbs, tree, closing = _spanning_forest(skeleton)
    return Parts(skeleton.joints, tuple(range(skeleton.num_keypoints)), None, limbs, tree, closing)


def _spanning_forest(skeleton: Skeleton) -> tuple[tuple[tuple[int, int], ...], tuple[int, ...], tuple[int, ...]]:
    """Turn each limb away from the root of its tree -> limbs, those that reach a new part in order, the others."""
    limbs = list(skeleton.limb_indices)
    tree: list[int] = []
    reached: set[int] = set()
    while True:
        grown = [i for i, (a, b) in enumerate(limbs) if i not in tree and (a in reached) != (b in reached)]
        if not grown:
            grown = [i for i, limb in enumerate(limbs) if not reached & set(limb)]
        if not grown:
            return tuple(limbs), tuple(tree), tuple(i for i in range(len(limbs)) if i not in tree)
        start, end = limbs[grown[0]]
        if end in reached:
            limbs[grown[0]] = (end, start)
        tree.append(grown[0])
        reached |= {start, end}


def keypoints_to_parts(keypoints: Tensor, visibility: Tensor, parts: Parts) -> tuple[Tensor, Tensor]:
    """Keypoints [B, P, K, 2] and visibility u8 [B, P, K] -> parts [B, P, N, 2] and bool [B, P, N] (labelled).

    The neck is the mean of both shoulders.
    """
    labelled = visibility > 0
    if parts.shoulders is not None:
        # choice: one shoulder alone makes no neck, as in the CMU pipeline. It stands last, where index -1 finds it.
        neck = at(keypoints, parts.shoulders).mean(2, keepdim=True)
        has_neck = at(labelled, parts.shoulders).all(2, keepdim=True)
        keypoints, labelled = torch.cat([keypoints, neck], dim=2), torch.cat([labelled, has_neck], dim=2)
    return at(keypoints, parts.keypoints), at(labelled, parts.keypoints)


def at(values: Tensor, places: Sequence[int]) -> Tensor:
    """[B, P, n, …] at fixed ``places`` of its third dimension; an index tensor would make the host wait for a copy."""
    return torch.stack([values[:, :, place] for place in places], dim=2)


def parts_to_keypoints(parts_found: Tensor, parts: Parts, num_keypoints: int) -> Tensor:
    """Parts [..., N, C] -> the skeleton's keypoints [..., K, C]; the neck is left out."""
    order = [parts.keypoints.index(keypoint) for keypoint in range(num_keypoints)]
    return parts_found[..., torch.tensor(order, device=parts_found.device), :]
