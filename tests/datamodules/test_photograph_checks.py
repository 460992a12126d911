import numpy as np
import pytest

from datamodules.annotations import read_annotations
from datamodules.photograph_checks import missing_photographs, unreadable_photographs
from datamodules.skeleton import COCO


@pytest.fixture
def root(write_coco):
    return write_coco([], {1: (20, 30), 2: (20, 30), 3: (20, 30)})


def read(root):
    return read_annotations(root / "annotations/person_keypoints_val2017.json", root / "val2017", COCO)


def test_nothing_to_say(root):
    for found in (missing_photographs(read(root)), unreadable_photographs(read(root), 10**6, decode=True)):
        assert found[0].tolist() == []
        assert found[1] == []


def test_missing_files_are_named(root):
    (root / "val2017/2.png").unlink()
    (root / "val2017/3.png").unlink()
    (root / "val2017/3.png").mkdir()
    numbers, complaints = missing_photographs(read(root))
    assert numbers.tolist() == [1, 2]
    assert "val2017.json: image 2: its photograph" in str(complaints[0])
    assert "2.png is missing" in str(complaints[0])


def test_a_missing_folder_misses_all(root):
    (root / "val2017").rename(root / "elsewhere")
    assert missing_photographs(read(root))[0].tolist() == [0, 1, 2]


@pytest.mark.fault(7, "symbolic link out of the folder", "named; refused")
def test_links_may_not_lead_out(root, tmp_path):
    outside = tmp_path / "outside.png"
    (root / "val2017/2.png").rename(outside)
    (root / "val2017/2.png").symlink_to(outside)
    (root / "val2017/3.png").unlink()
    (root / "val2017/3.png").symlink_to("1.png")
    numbers, complaints = missing_photographs(read(root))
    assert numbers.tolist() == [1]
    assert "is a link out of" in str(complaints[0])


def test_the_folder_itself_may_be_a_link(root, tmp_path):
    (root / "val2017").rename(root / "store")
    (root / "val2017").symlink_to(root / "store")
    assert missing_photographs(read(root))[0].tolist() == []


def test_damage_and_sizes_are_found(root):
    path = root / "val2017/2.png"
    path.write_bytes(path.read_bytes()[:-30])
    (root / "val2017/3.png").write_text("no image")
    annotations = read(root)
    annotations = annotations._replace(image_hw=annotations.image_hw + np.array([[0, 1], [0, 0], [0, 0]]))
    numbers, complaints = unreadable_photographs(annotations, 10**6)
    assert numbers.tolist() == [0, 1, 2]
    assert [complaint.id for complaint in complaints] == [1, 2, 3]
    assert "is 30x20 but its annotation says 31x20" in complaints[0].what
    assert "truncated" in complaints[1].what
    assert complaints[2].fix == "replace the file"


def test_a_real_coco_is_whole(coco_mini):
    annotations = read(coco_mini)
    assert missing_photographs(annotations)[1] == []
    assert unreadable_photographs(annotations, 10**7)[1] == []
