from datamodules.annotation_rules import Complaint, list_complaints
from datamodules.skeleton import COCO
from datamodules.split_report import report_split

NOBODY = {"keypoints": [0] * 51, "num_keypoints": 0}
LIMIT = 10**7


def test_figures_of_a_small_split(write_coco, person):
    half = person(11)["keypoints"][:3] + [4, 4, 1] + [0] * 45
    people = [
        person(10, area=500),
        person(11, area=32**2, keypoints=half, num_keypoints=2),
        person(12, area=96**2, image_id=2),
        person(13, **NOBODY),
        person(14, iscrowd=1, **NOBODY),
    ]
    root = write_coco(people, {1: (40, 60), 2: (100, 120), 3: (40, 60)})
    report = report_split(root, "val2017", COCO, max_pixels=LIMIT, decode=True)
    assert report.complaints == ()
    keypoints = report.figures.pop("keypoints")
    assert report.figures == {
        "images": 3,
        "images_with_labelled_people": 2,
        "people": 4,
        "labelled_people": 3,
        "crowds": 1,
        "small": 1,
        "medium": 1,
        "large": 1,
        "most_people_in_an_image": 2,
    }
    assert list(keypoints) == list(COCO.joints)
    assert keypoints["nose"] == {"labelled": 3, "visible": 3}
    assert keypoints["left_eye"] == {"labelled": 3, "visible": 2}
    assert keypoints["right_ankle"] == {"labelled": 2, "visible": 2}


def test_everything_wrong_is_named_once(write_coco, person):
    people = [person(10, keypoints=[1]), person(11, num_keypoints=2), person(12, image_id=2), person(13, image_id=3)]
    root = write_coco(people, {1: (40, 60), 2: (40, 60), 3: (40, 60)})
    (root / "val2017/2.png").unlink()
    (root / "val2017/3.png").write_text("x")
    report = report_split(root, "val2017", COCO, max_pixels=LIMIT)
    assert [(complaint.severity, complaint.kind, complaint.id) for complaint in report.complaints] == [
        ("error", "annotation", 10),
        ("repaired", "annotation", 11),
        ("error", "image", 2),
        ("error", "image", 3),
    ]
    assert (report.errors, report.repaired) == (3, 1)


def test_damage_within_a_photograph_shows_when_it_is_decoded(write_coco):
    root = write_coco([])
    path = root / "val2017/1.png"
    data = bytearray(path.read_bytes())
    data[60:90] = bytes(30)
    path.write_bytes(data)
    assert report_split(root, "val2017", COCO, max_pixels=LIMIT).errors == 0
    assert report_split(root, "val2017", COCO, max_pixels=LIMIT, decode=True).errors == 1


def test_a_file_that_cannot_be_read_has_no_figures(write_coco):
    root = write_coco([])
    (root / "annotations/person_keypoints_val2017.json").write_text("{")
    report = report_split(root, "val2017", COCO, max_pixels=LIMIT)
    assert report.figures is None
    assert report.errors == 1


def test_a_test_split_has_its_photographs_in_its_parents_folder(write_coco):
    root = write_coco([], splits=("test2017",))
    (root / "annotations/person_keypoints_test2017.json").rename(root / "annotations/image_info_test-dev2017.json")
    report = report_split(root, "test-dev2017", COCO, max_pixels=LIMIT)
    assert report.complaints == ()
    assert report.figures["images"] == 1


def test_a_split_without_images(write_coco):
    report = report_split(write_coco([], images={}), "val2017", COCO, max_pixels=LIMIT)
    assert report.errors == 0
    assert report.figures["images"] == report.figures["most_people_in_an_image"] == 0


def test_complaints_of_a_kind_differ_in_names_and_numbers_alone():
    def missing(number, severity="error"):
        return Complaint(
            severity, "a.json", "image", number, f"its photograph /d/{number}.jpg is missing", "put it there"
        )

    other = Complaint("error", "a.json", "image", 7, "its file name 'x.jpg' is no name", "correct it")
    lines = list_complaints([missing(1), other, missing(2), missing(3), missing(4, "repaired")], most=2)
    assert lines == [
        f"error: {missing(1)}",
        f"error: {missing(2)}",
        "error: … and 1 more of this kind",
        f"error: {other}",
        f"repaired: {missing(4)}",
    ]
    assert list_complaints([missing(n) for n in range(1, 1501)], most=10)[-1] == "error: … and 1,490 more of this kind"
