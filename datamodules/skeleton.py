"""Joint names, flip pairs, limbs and OKS sigmas. COCO is built in; others come from a YAML file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Skeleton:
    """A set of K named keypoints.

    Flip pairs are derived from the names: ``left_x`` and ``right_x`` swap, a name without a side keeps its place.

    Raises:
        ValueError: no joints, a repeated name, a side without its counterpart, a limb that names no joint, not as many
            sigmas as joints, or one that is not positive; the message names the entry.
    """

    name: str
    joints: tuple[str, ...]
    limbs: tuple[tuple[str, str], ...]
    sigmas: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.joints:
            raise ValueError(f"skeleton {self.name}: it has no joints")
        repeated = sorted({joint for joint in self.joints if self.joints.count(joint) > 1})
        if repeated:
            raise ValueError(f"skeleton {self.name}: joint {repeated[0]!r} is named twice")
        if len(self.sigmas) != len(self.joints):
            raise ValueError(f"skeleton {self.name}: {len(self.joints)} joints but {len(self.sigmas)} OKS sigmas")
        for joint, sigma in zip(self.joints, self.sigmas, strict=True):
            if not 0 < sigma < math.inf:
                raise ValueError(f"skeleton {self.name}: the OKS sigma of {joint!r} is {sigma}, not a positive number")
            if mirror_name(joint) not in self.joints:
                raise ValueError(f"skeleton {self.name}: {joint!r} has no counterpart {mirror_name(joint)!r}")
        for limb in self.limbs:
            for joint in limb:
                if joint not in self.joints:
                    raise ValueError(f"skeleton {self.name}: limb {limb} names {joint!r}, which is no joint")

    @property
    def num_keypoints(self) -> int:
        return len(self.joints)

    @property
    def flip_permutation(self) -> tuple[int, ...]:
        """K indices: ``keypoints[..., flip_permutation, :]`` are the mirror image's keypoints in their own order."""
        return tuple(self.joints.index(mirror_name(joint)) for joint in self.joints)

    @property
    def limb_indices(self) -> tuple[tuple[int, int], ...]:
        return tuple((self.joints.index(a), self.joints.index(b)) for a, b in self.limbs)

    def side(self, index: int) -> str:
        """``"left"``, ``"right"`` or ``"middle"`` of joint ``index``, from the person's own point of view."""
        prefix = self.joints[index].split("_", 1)[0]
        return prefix if prefix in ("left", "right") else "middle"


def mirror_name(joint: str) -> str:
    """Name of the counterpart on the other side; a name without a side is its own."""
    if joint.startswith("left_"):
        return "right_" + joint.removeprefix("left_")
    if joint.startswith("right_"):
        return "left_" + joint.removeprefix("right_")
    return joint


def skeleton_from(plain: Mapping[str, Any]) -> Skeleton:
    """The skeleton of plain values, as YAML, JSON and checkpoints hold it.

    Raises:
        KeyError, TypeError, ValueError: a key is missing, or its value makes no sense.
    """
    for key in ("joints", "limbs", "sigmas"):
        if not isinstance(plain[key], (list, tuple)):
            raise TypeError(f"{key!r} is no list")
    return Skeleton(
        name=str(plain["name"]),
        joints=tuple(str(joint) for joint in plain["joints"]),
        limbs=tuple((str(a), str(b)) for a, b in plain["limbs"]),
        sigmas=tuple(float(sigma) for sigma in plain["sigmas"]),
    )


def load_skeleton(path: str | Path | None) -> Skeleton:
    """Read a skeleton from YAML with the keys ``name``, ``joints``, ``limbs`` and ``sigmas``; COCO's for None.

    Raises:
        ValueError: the file is not readable as such; the message is one line that names the file and the key.
    """
    if path is None:
        return COCO
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"skeleton file {path}: cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"skeleton file {path}: is not YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict):
        raise ValueError(f"skeleton file {path}: expected the keys name, joints, limbs and sigmas")
    try:
        return skeleton_from(content)
    except KeyError as error:
        raise ValueError(f"skeleton file {path}: key {error} is missing") from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"skeleton file {path}: {error}") from error


COCO = Skeleton(
    name="coco",
    joints=(
        "nose",
        "left_eye",
        "right_eye",
        "left_ear",
        "right_ear",
        "left_shoulder",
        "right_shoulder",
        "left_elbow",
        "right_elbow",
        "left_wrist",
        "right_wrist",
        "left_hip",
        "right_hip",
        "left_knee",
        "right_knee",
        "left_ankle",
        "right_ankle",
    ),
    limbs=(
        ("left_ankle", "left_knee"),
        ("left_knee", "left_hip"),
        ("right_ankle", "right_knee"),
        ("right_knee", "right_hip"),
        ("left_hip", "right_hip"),
        ("left_shoulder", "left_hip"),
        ("right_shoulder", "right_hip"),
        ("left_shoulder", "right_shoulder"),
        ("left_shoulder", "left_elbow"),
        ("right_shoulder", "right_elbow"),
        ("left_elbow", "left_wrist"),
        ("right_elbow", "right_wrist"),
        ("left_eye", "right_eye"),
        ("nose", "left_eye"),
        ("nose", "right_eye"),
        ("left_eye", "left_ear"),
        ("right_eye", "right_ear"),
        ("left_ear", "left_shoulder"),
        ("right_ear", "right_shoulder"),
    ),
    sigmas=(
        0.026,
        0.025,
        0.025,
        0.035,
        0.035,
        0.079,
        0.079,
        0.072,
        0.072,
        0.062,
        0.062,
        0.107,
        0.107,
        0.087,
        0.087,
        0.089,
        0.089,
    ),
)
