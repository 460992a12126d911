import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_modules.inspose.assignment import assign, ignored_locations, pseudo_boxes, select_positives
from lightning_modules.inspose.locations import level_shapes, locations

LIMITS = [16.0, 32.0, 64.0, 128.0]


def test_pseudo_boxes_enclose_labelled_keypoints() -> None:
    keypoints = torch.tensor([[[[0.0, 0.0], [10.0, 50.0], [40.0, 20.0]]] * 3])
    labelled = torch.tensor([[[False, True, True], [False, True, False], [False, False, False]]])
    boxes = pseudo_boxes(keypoints, labelled, min_size=16)
    assert boxes[0].tolist() == [[10, 20, 40, 50], [2, 42, 18, 58], [0, 0, 0, 0]]


def test_a_flat_person_is_widened_on_its_short_side_only() -> None:
    keypoints = torch.tensor([[[[10.0, 5.0], [11.0, 90.0]]]])
    boxes = pseudo_boxes(keypoints, torch.ones(1, 1, 2, dtype=torch.bool), min_size=16)
    assert boxes[0, 0].tolist() == [2.5, 5, 18.5, 90]


def by_loop(boxes: list[list[float]], height: int, width: int, radius: float = 1.5) -> list[int]:
    """FCOS's rule in plain Python: centre region clipped to the box, size limits per level, smallest box first."""
    ranges = list(zip([-1.0, *LIMITS], [*LIMITS, float("inf")], strict=True))
    found = []
    shapes = level_shapes((height, width))
    for (rows, columns), stride, (low, high) in zip(shapes, (8, 16, 32, 64, 128), ranges, strict=True):
        for row in range(rows):
            for column in range(columns):
                x, y = column * stride + stride // 2, row * stride + stride // 2
                best, best_area = -1, float("inf")
                for index, (x0, y0, x1, y1) in enumerate(boxes):
                    cx, cy = (x0 + x1) / 2, (y0 + y1) / 2
                    region = (
                        max(x0, cx - radius * stride),
                        max(y0, cy - radius * stride),
                        min(x1, cx + radius * stride),
                        min(y1, cy + radius * stride),
                    )
                    if not (region[0] < x < region[2] and region[1] < y < region[3]):
                        continue
                    if not low <= max(x - x0, y - y0, x1 - x, y1 - y) <= high:
                        continue
                    area = (x1 - x0) * (y1 - y0)
                    if area < best_area:
                        best, best_area = index, area
                found.append(best)
    return found


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 100_000), people=st.integers(1, 6))
def test_assignment_equals_the_loop(seed: int, people: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    # halves of pixels are exact in float32, so both sides see the same borders
    corner = torch.randint(0, 200, (people, 2), generator=generator) / 2
    size = torch.randint(10, 500, (people, 2), generator=generator) / 2
    boxes = torch.cat([corner, corner + size], dim=1)
    grid = locations((96, 136), torch.device("cpu"))
    found = assign(boxes[None], torch.ones(1, people, dtype=torch.bool), grid, 1.5, LIMITS)
    assert found[0].tolist() == by_loop(boxes.tolist(), 96, 136)


def test_nobody_is_assigned_to_unreal_people() -> None:
    grid = locations((64, 64), torch.device("cpu"))
    boxes = torch.tensor([[[0.0, 0.0, 64.0, 64.0]]])
    assert (assign(boxes, torch.zeros(1, 1, dtype=torch.bool), grid, 1.5, LIMITS) == -1).all()
    assert (assign(boxes, torch.ones(1, 1, dtype=torch.bool), grid, 1.5, LIMITS) == 0).any()


def test_ignored_locations_by_loop() -> None:
    torch.manual_seed(10)
    ignore = torch.rand(2, 17, 25) < 0.4  # an input of 68 × 100
    shapes = level_shapes((68, 100))
    found = ignored_locations(ignore, shapes)
    for b in range(2):
        expected = []
        for (rows, columns), stride in zip(shapes, (8, 16, 32, 64, 128), strict=True):
            for row in range(rows):
                for column in range(columns):
                    y, x = (row * stride + stride // 2) // 4, (column * stride + stride // 2) // 4
                    around = [(j, i) for j in (y - 1, y) for i in (x - 1, x)]
                    outside = [j >= 17 or i >= 25 for j, i in around]
                    hits = sum(out or bool(ignore[b, j, i]) for (j, i), out in zip(around, outside, strict=True))
                    expected.append(hits >= 2)
        assert found[b].tolist() == expected


def shared_out(person: list[int], scores: list[float], most: int) -> list[int]:
    """Rank every location within its person, then take rank by rank, better scores first."""
    ranked = []
    for one in {p for p in person if p >= 0}:
        mine = sorted((i for i, p in enumerate(person) if p == one), key=lambda i: -scores[i])
        ranked += [(rank, -scores[i], i) for rank, i in enumerate(mine)]
    return [i for _, _, i in sorted(ranked)][:most]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 100_000), people=st.integers(0, 5), most=st.integers(1, 40))
def test_positives_are_shared_out_fairly(seed: int, people: int, most: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    person = torch.randint(-1, max(people, 1), (2, 30), generator=generator)
    person = person if people else torch.full_like(person, -1)
    scores = torch.randn(2, 30, generator=generator)
    found = select_positives(person, scores, most)
    assert found.locations.shape == (2, min(most, 30))
    for b in range(2):
        expected = shared_out(person[b].tolist(), scores[b].tolist(), most)
        assert found.locations[b][found.is_valid[b]].tolist() == expected
        assert found.person[b][found.is_valid[b]].tolist() == person[b, expected].tolist()
        assert (found.person[b] >= 0).all()
