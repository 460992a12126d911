"""The stand-in of COCO's size, a thousandth of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from datamodules.annotations import read_annotations
from datamodules.detections import load_entries
from datamodules.photograph_checks import missing_photographs, unreadable_photographs
from datamodules.skeleton import COCO
from experiments.benchmarks.coco_size import DETECTIONS_FILE, main


def test_a_share_has_its_counts_and_is_sound(tmp_path: Path) -> None:
    assert main(["--root", str(tmp_path), "--share", "0.001"]) == 0
    for split, images, people, peopled, labelled in (("train2017", 118, 262, 64, 150), ("val2017", 5, 11, 3, 6)):
        found = read_annotations(tmp_path / f"annotations/person_keypoints_{split}.json", tmp_path / split, COCO)
        shown = {number for number in range(found.num_images) if found.offsets[number + 1] > found.offsets[number]}
        assert (found.num_images, len(found.ids), len(shown)) == (images, people, peopled)
        assert int(found.is_labelled.sum()) == labelled
        assert found.complaints == ()
        assert missing_photographs(found)[1] == []
        assert unreadable_photographs(found, 10**6)[1] == []
    assert len(load_entries(tmp_path / DETECTIONS_FILE, "--detections")) == 104


def test_a_share_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(["--root", str(tmp_path), "--share", "0"])
