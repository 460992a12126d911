import json
from dataclasses import asdict
from pathlib import Path

import pytest

from datamodules.skeleton import COCO, Skeleton, load_skeleton, skeleton_from

TWO_EYES = """
name: face
joints: [nose, left_eye, right_eye]
limbs: [[nose, left_eye], [nose, right_eye]]
sigmas: [0.026, 0.025, 0.025]
"""


def test_coco_flip_pairs_are_the_official_ones() -> None:
    # COCO lists nose, then left before right for every pair.
    assert COCO.flip_permutation == (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15)


def test_flipping_twice_is_the_identity() -> None:
    permutation = COCO.flip_permutation
    assert tuple(permutation[index] for index in permutation) == tuple(range(COCO.num_keypoints))


def test_coco_sigmas_are_pycocotools_own() -> None:
    from pycocotools.cocoeval import Params

    assert COCO.sigmas == pytest.approx(Params(iouType="keypoints").kpt_oks_sigmas)


def test_coco_limbs_are_the_annotation_files_skeleton() -> None:
    official = [
        (16, 14), (14, 12), (17, 15), (15, 13), (12, 13), (6, 12), (7, 13), (6, 7), (6, 8), (7, 9),
        (8, 10), (9, 11), (2, 3), (1, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 7),
    ]  # fmt: skip
    assert COCO.limb_indices == tuple((a - 1, b - 1) for a, b in official)


def test_sides() -> None:
    assert [COCO.side(index) for index in (0, 5, 6)] == ["middle", "left", "right"]


def test_a_skeleton_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "face.yaml"
    file.write_text(TWO_EYES)
    skeleton = load_skeleton(file)
    assert skeleton.flip_permutation == (0, 2, 1)
    assert skeleton.limb_indices == ((0, 1), (0, 2))


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("right_eye]\n", "right_ear]\n", "left_eye"),
        ("[nose, left_eye, right_eye]", "[nose, left_eye, nose]", "named twice"),
        ("[nose, left_eye]", "[nose, chin]", "chin"),
        ("0.025, 0.025", "0.025", "2 OKS sigmas"),
        ("sigmas:", "sigma:", "'sigmas' is missing"),
        ("limbs: [[", "limbs: [[[", "face.yaml"),
        (TWO_EYES, "- 1", "expected the keys"),
        (TWO_EYES, "joints: 3\nname: x\nlimbs: []\nsigmas: []", "face.yaml"),
        (TWO_EYES, "joints: nose\nname: x\nlimbs: []\nsigmas: [1, 1, 1, 1]", "'joints' is no list"),
        (TWO_EYES, "joints: []\nname: x\nlimbs: []\nsigmas: []", "it has no joints"),
        ("0.026", "0.0", "sigma of 'nose' is 0.0"),
        ("0.026", ".nan", "sigma of 'nose' is nan"),
        ("right_eye]\n", "right_eye\n", r"face.yaml: is not YAML .*line 3"),
        ("name: face", "name: \xff", "face.yaml: .*utf-8"),
    ],
)
def test_a_bad_skeleton_file_is_named(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    file = tmp_path / "face.yaml"
    assert old in TWO_EYES
    file.write_bytes(TWO_EYES.replace(old, new, 1).encode("latin-1"))
    with pytest.raises(ValueError, match=complaint) as caught:
        load_skeleton(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_skeleton_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere\.yaml"):
        load_skeleton(tmp_path / "nowhere.yaml")


def test_a_wrong_limb_length_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "face.yaml"
    file.write_text(TWO_EYES.replace("[nose, left_eye]", "[nose]", 1))
    with pytest.raises(ValueError, match="face"):
        load_skeleton(file)


def test_skeletons_are_values() -> None:
    assert Skeleton(COCO.name, COCO.joints, COCO.limbs, COCO.sigmas) == COCO


def test_without_a_file_it_is_coco() -> None:
    assert load_skeleton(None) is COCO


def test_plain_values_give_the_skeleton_back() -> None:
    plain = json.loads(json.dumps(asdict(COCO)))
    assert skeleton_from(plain) == COCO
    with pytest.raises(KeyError):
        skeleton_from({"name": "coco"})
