import numpy as np
import pytest
from pycocotools import mask as coco_mask

from datamodules import geometry as g
from datamodules.segments import decode_counts, decode_runs, fill_polygon, flatten_segments

HW = np.array([[20, 30]])


def runs_of(mask: np.ndarray) -> dict:
    """pycocotools' own encoding, uncompressed and compressed."""
    flat = mask.T.ravel()
    changes = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *changes, len(flat)]).tolist()
    return {"size": list(mask.shape), "counts": counts if not flat[0] else [0, *counts]}


@pytest.fixture
def mask():
    return (np.random.default_rng(3).random((20, 30)) > 0.6).astype(np.uint8)


def test_runs_decode_as_pycocotools(mask):
    expected = coco_mask.decode(coco_mask.frPyObjects(runs_of(mask), 20, 30))
    np.testing.assert_array_equal(decode_runs(np.array(runs_of(mask)["counts"], np.uint32), (20, 30)), expected)
    np.testing.assert_array_equal(expected, mask)


def test_compressed_runs_decode_as_pycocotools(mask):
    for picture in (mask, np.kron(mask, np.ones((9, 7), np.uint8))):
        text = coco_mask.encode(np.asfortranarray(picture))["counts"].decode()
        assert decode_counts(text) == runs_of(picture)["counts"]


@pytest.mark.parametrize("text", ["é", "o", " 1"])
def test_broken_compressed_runs_are_refused(text):
    with pytest.raises(ValueError, match="run-length"):
        decode_counts(text)


def test_selection_keeps_each_persons_own_segments(mask):
    values = [[[0, 0, 4, 0, 4, 4], [8, 8, 12, 8, 12, 12, 8, 12]], None, runs_of(mask), [[1, 1, 3, 1, 3, 3]]]
    segments, complaints = flatten_segments(values, np.repeat(HW, 4, axis=0))
    assert complaints == []
    picked = segments.select(np.array([2, 0, 1]))
    assert [picked.has(person) for person in range(3)] == [True, True, False]
    draw = [picked.draw(person, (20, 30), g.scaling(4, 4), (20, 30)) for person in range(3)]
    np.testing.assert_array_equal(draw[0], mask)
    np.testing.assert_array_equal(draw[1][9:11, 9:11], True)
    assert not draw[2].any()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([[0, 0, 1, 1]], "1 of 1 polygons"),
        ([[0, 0, 1, 1, 2, float("nan")]], "1 of 1 polygons"),
        ([[0, 0, 1, "1", 2, 2]], "1 of 1 polygons"),
        ([[10**400, -(10**400), 1, 1, 2, 2]], "1 of 1 polygons"),
        ([[1e30, -1e30, 1, 1, 2, 2]], "1 of 1 polygons"),
        ([7], "1 of 1 polygons"),
        ({"size": [20, 31], "counts": [620]}, "height and width"),
        ({"size": [20, 30], "counts": [599]}, "599 pixels of 600"),
        ({"size": [20, 30], "counts": [-1, 601]}, "no run lengths"),
        ({"size": [20, 30], "counts": "~"}, "run-length"),
        ("polygon", "is a str"),
    ],
)
def test_unusable_segmentations_are_named_and_left_out(value, text):
    segments, complaints = flatten_segments([value], HW)
    assert len(complaints) == 1
    assert text in complaints[0][1]
    assert not segments.has(0)


def test_runs_of_a_photograph_of_impossible_size_are_left_out():
    segments, complaints = flatten_segments([{"size": [10**5, 10**5], "counts": [10**10]}], np.array([[10**5, 10**5]]))
    assert "10000000000 pixels" in complaints[0][1]
    assert not segments.has(0)


def test_cells_are_set_where_more_than_half_is_covered():
    canvas = np.zeros((6, 6), dtype=bool)
    fill_polygon(canvas, np.array([[1.0, 1.0], [3.7, 1.0], [3.7, 4.3], [1.0, 4.3]]))
    expected = np.zeros((6, 6), dtype=bool)
    expected[1:4, 1:4] = True
    np.testing.assert_array_equal(canvas, expected)


def test_polygon_beyond_the_canvas_is_clipped():
    canvas = np.zeros((4, 4), dtype=bool)
    fill_polygon(canvas, np.array([[-50.0, -50.0], [2.0, -50.0], [2.0, 50.0], [-50.0, 50.0]]))
    np.testing.assert_array_equal(canvas, np.array([[True, True, False, False]] * 4))
    fill_polygon(canvas, np.array([[9.0, 9.0], [12.0, 9.0], [12.0, 12.0]]))
    assert canvas.sum() == 8


def test_drawn_polygons_agree_with_pycocotools():
    """Against the full-resolution mask of pycocotools averaged over 4x4 cells; only border cells may differ."""
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    ring = np.stack([90 + 60 * np.cos(angles), 70 + 45 * np.sin(angles) + 5 * np.cos(5 * angles)], axis=1)
    segments, _ = flatten_segments([[ring.ravel().tolist()]], np.array([[140, 180]]))
    full = coco_mask.decode(coco_mask.frPyObjects([ring.ravel().tolist()], 140, 180))[..., 0]
    share = full.reshape(35, 4, 45, 4).mean(axis=(1, 3))
    drawn = segments.draw(0, (140, 180), g.identity(), (35, 45))
    sure = np.abs(share - 0.5) > 0.3
    np.testing.assert_array_equal(drawn[sure], share[sure] > 0.5)
    assert drawn.sum() * 16 == pytest.approx(full.sum(), rel=0.02)
