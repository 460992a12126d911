import json
import math

import numpy as np
import pytest

from datamodules.annotations import AnnotationError, read_annotations
from datamodules.config import OnBadAnnotation
from datamodules.skeleton import COCO

JOINTS = list(COCO.joints)


def read(root, **options):
    return read_annotations(root / "annotations/person_keypoints_val2017.json", root / "val2017", COCO, **options)


def test_columns_of_a_sound_file(write_coco, person):
    crowd = person(12, image_id=2, iscrowd=1, keypoints=[0] * 51, num_keypoints=0)
    bare = person(13, image_id=2, keypoints=[5, 5, 0] * 17, num_keypoints=0)
    root = write_coco([crowd, person(11), bare, person(10)], {1: (40, 60), 3: (30, 30), 2: (50, 40)})
    annotations = read(root)
    assert annotations.complaints == ()
    assert annotations.image_ids.tolist() == [1, 3, 2]
    assert annotations.image_hw.tolist() == [[40, 60], [30, 30], [50, 40]]
    assert annotations.path(2) == root / "val2017" / "2.png"
    assert [annotations.ids[annotations.people(image)].tolist() for image in range(3)] == [[11, 10], [], [12, 13]]
    assert annotations.is_labelled.tolist() == [True, True, False, False]
    assert annotations.labelled_per_image.tolist() == [2, 0, 0]
    np.testing.assert_array_equal(annotations.boxes[0], [4, 6, 24, 30])
    assert annotations.areas[0] == 240


def test_pixel_indices_become_continuous_coordinates(write_coco, person):
    keypoints = [0] * 51
    keypoints[:6] = [7, 9, 2, 59, 39, 1]
    annotations = read(write_coco([person(1, keypoints=keypoints, num_keypoints=2)]))
    assert annotations.complaints == ()
    np.testing.assert_array_equal(annotations.keypoints[0, :3], [[7.5, 9.5], [59.5, 39.5], [0, 0]])
    assert annotations.visibility[0].tolist() == [2, 1] + [0] * 15
    assert annotations.keypoints.dtype == np.float32
    assert annotations.visibility.dtype == np.uint8


def test_selection_keeps_images_with_their_people(write_coco, person):
    people = [person(10 * image_id + n, image_id=image_id) for image_id in (1, 2, 3) for n in range(image_id)]
    root = write_coco(people, {1: (40, 60), 2: (40, 60), 3: (40, 60)})
    picked = read(root).select(np.array([2, 0]))
    assert picked.image_ids.tolist() == [3, 1]
    assert picked.ids.tolist() == [30, 31, 32, 10]
    assert picked.people(1) == slice(3, 4)
    assert picked.segments.has(3)
    assert len(read(root).select(np.array([], dtype=np.int64)).ids) == 0


def test_only_the_named_images_are_read(write_coco, person):
    images = {1: (40, 60), 2: (40, 60)}
    broken = person(20, image_id=2, keypoints=[1, 2])
    assert read(write_coco([person(10), broken], images), image_ids=[1]).ids.tolist() == [10]
    with pytest.raises(AnnotationError, match=r"person_keypoints_val2017.json: image id 7 .*and 1 more"):
        read(write_coco([], images), image_ids=[1, 7, 8])


def test_a_file_without_people_is_read(write_coco):
    annotations = read(write_coco([]))
    assert annotations.num_images == 1
    assert annotations.keypoints.shape == (0, 17, 2)
    assert annotations.labelled_per_image.tolist() == [0]
    assert read(write_coco([], images={})).num_images == 0


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "not complete JSON"),
        ('{"images": [', "not complete JSON"),
        ("<html>", "not complete JSON"),
        ("[]", "holds a list at its top"),
        ("3", "holds a int at its top"),
        ('{"annotations": [], "categories": []}', "has no list 'images'"),
        ('{"images": {}, "annotations": [], "categories": []}', "'images' is a dict, no list"),
    ],
)
@pytest.mark.fault(1, "not JSON, truncated, wrong top-level type", "one line: file, fault, fix")
def test_a_file_that_is_no_coco_file_is_refused(tmp_path, text, what):
    file = tmp_path / "a.json"
    file.write_text(text)
    with pytest.raises(AnnotationError) as error:
        read_annotations(file, tmp_path, COCO, on_bad=OnBadAnnotation.drop)
    assert str(error.value).startswith(f"{file}: ")
    assert what in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.fault(1, "annotation file missing or unreadable", "one line: file, fault, fix")
def test_a_missing_or_unreadable_file_is_refused(tmp_path):
    with pytest.raises(AnnotationError, match=r"x.json: there is no such annotation file; correct data.root"):
        read_annotations(tmp_path / "x.json", tmp_path, COCO)
    with pytest.raises(AnnotationError, match="cannot be read"):
        read_annotations(tmp_path, tmp_path, COCO)
    (tmp_path / "latin.json").write_bytes(b'{"a": "\xff"}')
    with pytest.raises(AnnotationError, match="not complete JSON"):
        read_annotations(tmp_path / "latin.json", tmp_path, COCO)


@pytest.mark.parametrize(
    ("categories", "what"),
    [
        ([], r"0 categories are named 'person' \(it has: none\)"),
        ([{"id": 1, "name": "cat"}], r"it has: cat"),
        ([{"id": 1, "name": "person"}, {"id": 2, "name": "person"}], "2 categories are named 'person'"),
        ([{"id": 1, "name": "person", "keypoints": JOINTS[:14]}], "have 14 keypoints, skeleton coco has 17"),
        ([{"id": 1, "name": "person", "keypoints": [*JOINTS[:16], "tail"]}], "keypoint 16 is 'tail'.*'right_ankle'"),
    ],
)
@pytest.mark.fault(4, "no person category, two, other keypoints", "named; refused")
def test_the_person_category_must_fit_the_skeleton(write_coco, categories, what):
    with pytest.raises(AnnotationError, match=what):
        read(write_coco([], categories=categories), on_bad=OnBadAnnotation.drop)


def test_person_is_found_by_name_and_other_categories_are_left_out(write_coco, person):
    categories = [
        {"id": 1, "name": "dog"},
        {"id": 7, "name": "person", "keypoints": [j.replace("_", " ") for j in JOINTS]},
    ]
    dog = {"id": 5, "image_id": 1, "category_id": 1}
    assert read(write_coco([person(4, category_id=7), dog], categories=categories)).ids.tolist() == [4]


def visibility(value):
    return [1, 1, value, *[2, 2, 2] * 16]


REFUSED = {
    "short": ({"keypoints": [1, 2, 2] * 16}, "keypoints has 48 values, expected 51 numbers"),
    "none": ({"keypoints": None}, "it has no keypoints"),
    "text": ({"keypoints": ["a"] * 51}, "values that are no numbers"),
    "object": ({"keypoints": {}}, "values that are no numbers"),
    "nan": ({"keypoints": [math.nan, 2, 2] * 17}, "keypoints holds NaN or infinity"),
    "infinite": ({"keypoints": [-math.inf, 2, 2] * 17}, "keypoints holds NaN or infinity"),
    "negative": ({"keypoints": visibility(-1)}, "visibility of keypoint 0 is -1"),
    "three": ({"keypoints": visibility(3)}, "visibility of keypoint 0 is 3"),
    "half": ({"keypoints": visibility(0.5)}, "visibility of keypoint 0 is 0.5"),
    "crowd": ({"iscrowd": 2}, "iscrowd is 2"),
    "image": ({"image_id": 99}, "image_id 99 is no image of the file"),
    "image_text": ({"image_id": "1"}, "image_id '1' is no image of the file"),
    "category": ({"category_id": 3}, "category_id 3 is no category of the file"),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.fault(2, "keypoints, visibility, ids, iscrowd that no rule repairs", "named by id; refused or dropped")
def test_annotations_without_repair_are_named_and_refused_or_dropped(write_coco, person, case):
    changes, what = REFUSED[case]
    root = write_coco([person(7), person(1234, **changes)])
    with pytest.raises(AnnotationError) as error:
        read(root)
    message = str(error.value)
    assert "val2017.json: annotation 1234: " in message
    assert what in message
    assert "on_bad_annotation=drop" in message
    assert "\n" not in message
    dropped = read(root, on_bad=OnBadAnnotation.drop)
    assert dropped.ids.tolist() == [7]
    assert [(c.severity, c.kind, c.id) for c in dropped.complaints] == [("error", "annotation", 1234)]


@pytest.mark.fault(4, "annotation ids twice or missing", "named; refused")
def test_duplicate_and_missing_annotation_ids(write_coco, person):
    root = write_coco([person(7), person(7), person("x"), {"no": 1}, 5])
    with pytest.raises(AnnotationError, match=r"annotation 7: its id is used twice; .* \(and 3 more\)"):
        read(root)
    dropped = read(root, on_bad=OnBadAnnotation.drop)
    assert dropped.ids.tolist() == [7]
    assert "annotation entry number 2 has no whole number" in str(dropped.complaints[1])


GOOD = {"id": 1, "file_name": "1.png", "width": 60, "height": 40}
BAD_IMAGES = {
    "duplicate": ({"id": 1}, "image 1: its id is used twice"),
    "id": ({"id": "2"}, "image entry number 1 has no whole number as its id"),
    "no_name": ({"file_name": None}, "image 2: it has no file_name"),
    "width": ({"width": 0}, "image 2: width is 0"),
    "height": ({"height": "40"}, "image 2: height is '40'"),
    "absolute": ({"file_name": "/etc/passwd"}, "leads out of the split's folder"),
    "drive": ({"file_name": "C:\\x.jpg"}, "leads out of the split's folder"),
    "parent": ({"file_name": "../secret.jpg"}, "leads out of the split's folder"),
    "inner_parent": ({"file_name": "a/../../secret.jpg"}, "leads out of the split's folder"),
    "backslash": ({"file_name": "..\\secret.jpg"}, "leads out of the split's folder"),
    "dots": ({"file_name": ".."}, "leads out of the split's folder"),
    "nul": ({"file_name": "a\0.jpg"}, "leads out of the split's folder"),
}


@pytest.mark.parametrize("case", BAD_IMAGES)
@pytest.mark.fault(7, "file_name absolute, with .., NUL; image ids and sizes", "named; refused")
def test_image_entries_are_checked(write_coco, person, case):
    changes, what = BAD_IMAGES[case]
    root = write_coco([person(5)])
    file = root / "annotations/person_keypoints_val2017.json"
    content = json.loads(file.read_text())
    content["images"] = [GOOD, {**GOOD, "id": 2, **changes}]
    content["annotations"].append(person(6, image_id=2))
    file.write_text(json.dumps(content))
    with pytest.raises(AnnotationError) as error:
        read(root)
    assert what in str(error.value)
    dropped = read(root, on_bad=OnBadAnnotation.drop)
    assert dropped.image_ids.tolist() == [1]
    assert dropped.ids.tolist() == [5]


@pytest.mark.parametrize("name", ["sub/1.png", "a b.jpg", "ü.jpg", "..hidden.jpg", "x..y.jpg"])
def test_harmless_file_names_pass(write_coco, name):
    root = write_coco([])
    file = root / "annotations/person_keypoints_val2017.json"
    content = json.loads(file.read_text())
    content["images"][0]["file_name"] = name
    file.write_text(json.dumps(content))
    assert read(root).path(0) == root / "val2017" / name


NOBODY = {"keypoints": [0] * 51, "num_keypoints": 0}
REPAIRED = {
    "count": ({"num_keypoints": 3}, "num_keypoints says 3 of 17 labelled; recounted"),
    "beyond": ({"bbox": [-3, 6, 30, 24]}, "bbox reaches 3 px out of its photograph; clipped"),
    "area": ({"area": None}, "area is None; the area of its box was taken"),
    "no_area": ({"area": 0}, "area is 0; the area of its box was taken"),
    "nan_area": ({"area": math.nan}, "area is nan; the area of its box was taken"),
    "polygon": ({"segmentation": [[1, 2]]}, "1 of 1 polygons are no polygons; it was left out"),
}


@pytest.mark.parametrize("case", REPAIRED)
@pytest.mark.fault(3, "box beyond the photograph, area, num_keypoints, polygons", "repaired by its rule, counted")
def test_repairs_are_counted(write_coco, person, case):
    changes, what = REPAIRED[case]
    keypoints = person(1)["keypoints"]
    annotations = read(write_coco([person(8, **{"keypoints": keypoints, **changes})]))
    assert annotations.ids.tolist() == [8]
    assert [complaint.severity for complaint in annotations.complaints] == ["repaired"]
    assert f"annotation 8: {what}" in str(annotations.complaints[0])
    if "area" in case:
        assert annotations.areas[0] == 480
    if case == "beyond":
        assert annotations.boxes[0].tolist() == [0, 6, 27, 30]


BAD_BOXES = [None, [1, 2, 3], [4, 6, 0, 24], [4, 6, 20, -1], [100, 6, 20, 24], [math.nan, 6, 20, 24], ["4", 6, 20, 24]]


@pytest.mark.parametrize("box", BAD_BOXES)
@pytest.mark.fault(3, "box without area, NaN, outside", "the extent of the keypoints, counted")
def test_a_box_without_area_becomes_the_extent_of_the_keypoints(write_coco, person, box):
    entry = {**person(8), "bbox": box}
    points = np.array(entry["keypoints"]).reshape(17, 3)[:, :2] + 0.5
    annotations = read(write_coco([entry, {**person(9, **NOBODY), "bbox": box}]))
    assert annotations.ids.tolist() == [8]
    np.testing.assert_allclose(annotations.boxes[0], [*(points.min(axis=0) - 1), *(points.max(axis=0) + 1)])
    fixes = {complaint.id: complaint.fix for complaint in annotations.complaints}
    assert fixes == {8: "the extent of its keypoints was taken", 9: "it has no keypoints either and was left out"}


def test_the_box_of_one_keypoint_has_an_area(write_coco, person):
    entry = {**person(8), "bbox": [0, 0, 0, 0], "keypoints": [0, 0, 2] + [0] * 48, "num_keypoints": 1}
    np.testing.assert_allclose(read(write_coco([entry])).boxes, [[0, 0, 1.5, 1.5]])


def test_labelled_keypoints_outside_the_photograph_lose_their_label(write_coco, person):
    keypoints = [10, 10, 2] * 17
    keypoints[:6] = [60, 10, 2, 10, -1, 1]
    annotations = read(write_coco([person(8, keypoints=keypoints)]))
    assert annotations.visibility[0].tolist() == [0, 0] + [2] * 15
    assert "2 labelled keypoints lie outside the photograph" in str(annotations.complaints[0])


def test_crowds_need_no_keypoints(write_coco, person):
    crowd = person(8, iscrowd=1)
    del crowd["keypoints"], crowd["num_keypoints"]
    annotations = read(write_coco([crowd]))
    assert annotations.complaints == ()
    assert annotations.is_crowd.tolist() == [True]


def test_all_of_a_real_coco_passes(coco_mini):
    for split, people in (("train2017", 1085), ("val2017", 456)):
        file = coco_mini / "annotations" / f"person_keypoints_{split}.json"
        annotations = read_annotations(file, coco_mini / split, COCO)
        assert annotations.complaints == ()
        assert len(annotations.ids) == people
        entries = {entry["id"]: entry for entry in json.loads(file.read_text())["annotations"]}
        for row, entry_id in enumerate(annotations.ids.tolist()):
            stated = np.array(entries[entry_id]["keypoints"]).reshape(17, 3)
            np.testing.assert_array_equal(annotations.visibility[row], stated[:, 2])
            labelled = stated[:, 2] > 0
            np.testing.assert_array_equal(annotations.keypoints[row, labelled], stated[labelled, :2] + 0.5)
