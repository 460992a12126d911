"""Labels of rendered people against what was put on the stage."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from datamodules.skeleton import COCO
from datamodules.synthetic import Person, Scene, render_scene
from datamodules.synthetic.anatomy import Body, sample_body
from datamodules.synthetic.canvas import Canvas
from datamodules.synthetic.cast import Actor, Stage, sample_cast
from datamodules.synthetic.coat import Light
from datamodules.synthetic.crowd import CROWD, paint_crowd
from datamodules.synthetic.poses import Arm, Leg, Pose, sample_pose
from datamodules.synthetic.rig import solve
from datamodules.synthetic.scene import play
from datamodules.synthetic.wardrobe import Bottom, Hair, Look, Top, sample_look

SIZE = 128
STAGE = Stage(Light(0.0, -0.5, 0.85, 0.5), elevation=0.0, roll=0.0, distance=8.0)


def plain_look() -> Look:
    """Nothing on one side only, nothing long."""
    look = sample_look(np.random.default_rng(5), childhood=False)
    bare = {"badge": None, "armband": None, "watch": None, "bag": None, "hat": None, "glasses": False}
    return replace(look, **bare, hair=Hair.short, top=Top.tee, bottom=Bottom.trousers)


def plain_body() -> Body:
    return replace(sample_body(np.random.default_rng(1)), stature=1.0, girth=1.0, waist=1.0)


def actor(heading: float = 0.0, x: float = SIZE / 2, height: float = 100.0, pose: Pose | None = None) -> Actor:
    return Actor(plain_body(), pose or Pose(), plain_look(), heading, height, x, foot=120.0)


def perform(*actors: Actor, stage: Stage = STAGE) -> tuple[np.ndarray, list[Person]]:
    canvas = Canvas(np.full((2 * SIZE, 2 * SIZE, 3), 160, np.uint8), stage.light)
    people = play(canvas, stage, list(actors), rng=NoObstacles())
    return canvas.picture(), people


class NoObstacles:
    """A generator that never places an obstacle."""

    def random(self) -> float:
        return 1.0


def joint(person: Person, name: str) -> tuple[float, float, int]:
    index = COCO.joints.index(name)
    return float(person.keypoints[index, 0]), float(person.keypoints[index, 1]), int(person.visibility[index])


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [render_scene(np.random.default_rng([11, index]), 64) for index in range(200)]


def test_same_seed_same_scene() -> None:
    first, second = (render_scene(np.random.default_rng(4), 96) for _ in range(2))
    assert (first.image == second.image).all()
    assert len(first.people) == len(second.people)
    assert (render_scene(np.random.default_rng(5), 96).image != first.image).any()


def test_scenes_hold_what_a_loader_must_cope_with(scenes: list[Scene]) -> None:
    everyone = [person for scene in scenes for person in scene.people]
    crowds = sum(person.is_crowd for person in everyone)
    unlabelled = sum(not person.is_crowd and not person.visibility.any() for person in everyone)
    empty = sum(not scene.people for scene in scenes)
    assert 3 <= crowds <= 50
    assert 5 <= unlabelled <= 150
    assert 1 <= empty <= 30
    levels = np.bincount(np.concatenate([p.visibility for p in everyone if p.visibility.any()]), minlength=3)
    assert (levels / levels.sum() > (0.03, 0.1, 0.4)).all()


def test_a_stage_for_few_and_near_people() -> None:
    scenes = [render_scene(np.random.default_rng([9, k]), 96, max_people=2, min_height=0.6) for k in range(25)]
    assert max(len(scene.people) for scene in scenes) == 2
    assert not any(person.is_crowd for scene in scenes for person in scene.people)
    everyone = [render_scene(np.random.default_rng([9, k]), 96) for k in range(25)]
    assert max(len(scene.people) for scene in everyone) > 2


def test_labels_are_consistent(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert scene.image.shape == (64, 64, 3)
        assert scene.image.dtype == np.uint8
        taken = np.zeros((64, 64), int)
        for person in scene.people:
            taken += person.mask
            inside = ((person.keypoints >= 0.5) & (person.keypoints <= 63.5)).all(axis=1)
            assert (inside == (person.visibility > 0)).all()
            assert (person.keypoints[person.visibility == 0] == 0).all()
            assert person.mask.any()
            assert not (person.is_crowd and person.visibility.any())
        assert taken.max(initial=0) <= 1


def test_visible_joints_lie_on_their_own_person(scenes: list[Scene]) -> None:
    for scene in scenes:
        for person in scene.people:
            near = cv2.dilate(person.mask.astype(np.uint8), np.ones((3, 3), np.uint8))
            for x, y in person.keypoints[person.visibility == 2]:
                assert near[int(y), int(x)]


def test_facing_the_viewer_left_is_on_the_right_of_the_picture() -> None:
    _, (person,) = perform(actor(heading=0))
    for name in ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle"):
        left, right = joint(person, f"left_{name}"), joint(person, f"right_{name}")
        assert left[0] > right[0]
        assert left[2] == right[2] == 2
    heights = [joint(person, f"left_{name}")[1] for name in ("eye", "shoulder", "hip", "knee", "ankle")]
    assert heights == sorted(heights)
    assert joint(person, "nose")[2] == 2


def test_from_behind_the_face_is_hidden_and_left_is_on_the_left() -> None:
    _, (person,) = perform(actor(heading=180))
    assert joint(person, "left_shoulder")[0] < joint(person, "right_shoulder")[0]
    assert [joint(person, name)[2] for name in ("nose", "left_eye", "right_eye")] == [1, 1, 1]
    assert [joint(person, f"{side}_{name}")[2] for side in ("left", "right") for name in ("ear", "shoulder")] == [2] * 4


@pytest.mark.parametrize(("heading", "near", "far"), [(90.0, "right", "left"), (-90.0, "left", "right")])
def test_profile_hides_the_far_side(heading: float, near: str, far: str) -> None:
    _, (person,) = perform(actor(heading))
    towards = 1 if heading > 0 else -1
    assert towards * (joint(person, "nose")[0] - joint(person, f"{near}_ear")[0]) > 0
    for name in ("eye", "ear", "shoulder", "hip"):
        assert joint(person, f"{near}_{name}")[2] == 2
        assert joint(person, f"{far}_{name}")[2] == 1


def test_an_arm_before_the_chest_hides_what_lies_behind_it() -> None:
    folded = Arm(flexion=25, abduction=8, twist=70, elbow=96)
    _, (front,) = perform(actor(0, pose=Pose(arms=(Arm(), folded))))
    _, (back,) = perform(actor(180, pose=Pose(arms=(Arm(), folded))))
    assert joint(front, "right_wrist")[2] == 2
    assert joint(back, "right_wrist")[2] == 1


def test_a_nearer_person_hides_a_farther_one() -> None:
    far, near = actor(x=64, height=80), actor(x=64, height=100)
    beside = actor(x=104, height=100)
    _, (alone,) = perform(far)
    _, (hidden, covering) = perform(far, near)
    _, (free, _) = perform(far._replace(x=24), beside)
    assert alone.mask.sum() > 3 * hidden.mask.sum()
    assert (covering.visibility == 2).all()
    assert np.count_nonzero(hidden.visibility == 2) < 3
    assert (free.visibility == 2).all()
    _, (half, _) = perform(far._replace(x=50), near)
    left, right = joint(half, "left_shoulder"), joint(half, "right_shoulder")
    assert (left[2], right[2]) == (1, 2)
    assert half.mask[int(right[1]), int(right[0])]
    assert not half.mask[int(left[1]), int(left[0])]
    assert np.allclose(half.keypoints[5], alone.keypoints[5] - (14, 0))  # hidden joints keep their place


def test_joints_beyond_the_frame_are_not_labelled() -> None:
    _, (person,) = perform(actor(x=4))
    assert joint(person, "right_wrist") == (0, 0, 0)
    assert joint(person, "left_wrist")[2] == 2
    _, (close,) = perform(actor(height=250)._replace(foot=280))
    assert joint(close, "left_ankle") == (0, 0, 0)
    assert joint(close, "nose")[2] == 2


def mirrored(pose: Pose) -> Pose:
    return replace(
        pose,
        arms=pose.arms[::-1],
        legs=pose.legs[::-1],
        lean=-pose.lean,
        turn=-pose.turn,
        look=-pose.look,
        tilt=-pose.tilt,
        roll=-pose.roll,
    )


def test_the_mirrored_pose_gives_the_mirror_image() -> None:
    rng = np.random.default_rng(8)
    agreement = []
    for _ in range(12):
        pose, heading = replace(sample_pose(rng), seated=False), float(rng.uniform(-180, 180))
        height = 80 if pose.lying else 90
        image, (person,) = perform(actor(heading, pose=pose, height=height))
        other_image, (other,) = perform(actor(-heading, pose=mirrored(pose), height=height))
        flipped = other.keypoints[list(COCO.flip_permutation)] * (-1, 1) + (SIZE, 0)
        both = (person.visibility > 0) & (other.visibility[list(COCO.flip_permutation)] > 0)
        assert np.allclose(person.keypoints[both], flipped[both], atol=1e-6)
        agreement.append(np.mean(person.visibility == other.visibility[list(COCO.flip_permutation)]))
        assert np.count_nonzero(person.mask ^ other.mask[:, ::-1]) < 0.1 * person.mask.sum()
        assert np.abs(image.astype(int) - other_image[:, ::-1]).mean() < 3
    assert np.mean(agreement) > 0.97


def test_the_cameras_roll_turns_joints_about_the_centre() -> None:
    _, (upright,) = perform(actor())
    _, (rolled,) = perform(actor(), stage=STAGE._replace(roll=10.0))
    angle = np.radians(10)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    expected = (upright.keypoints - SIZE / 2) @ turn.T + SIZE / 2
    both = (upright.visibility > 0) & (rolled.visibility > 0)
    assert both.sum() > 12
    assert np.allclose(rolled.keypoints[both], expected[both], atol=1e-6)


def test_too_small_and_blurred_people_have_no_keypoints() -> None:
    _, (small,) = perform(actor(height=9))
    _, (blurred,) = perform(actor()._replace(is_labelled=False, is_blurred=True))
    assert small.mask.any()
    assert not small.visibility.any()
    assert not blurred.visibility.any()


def test_a_crowd_is_one_region_behind_the_people() -> None:
    canvas = Canvas(np.full((2 * SIZE, 2 * SIZE, 3), 160, np.uint8), STAGE.light)
    paint_crowd(np.random.default_rng(1), canvas, STAGE, horizon=90.0)
    alone = canvas.owner[::2, ::2] >> 6 == CROWD
    people = play(canvas, STAGE, [actor()], NoObstacles())
    assert [person.is_crowd for person in people] == [False, True]
    crowd = people[1]
    assert not crowd.visibility.any()
    assert alone.sum() > crowd.mask.sum() > 100
    rows = np.flatnonzero(crowd.mask.any(axis=1))
    assert 75 < rows[0] < rows[-1] < 115
    assert (canvas.picture()[crowd.mask] != 160).any(axis=1).mean() > 0.95


def test_the_least_height_holds_for_children_too() -> None:
    heights = []
    for seed in range(30):
        cast = sample_cast(np.random.default_rng([3, seed]), SIZE, 50.0, max_people=4, min_height=0.5)
        heights += [person.height * person.body.stature / SIZE for person in cast]
    assert min(heights) == pytest.approx(0.5)
    assert max(heights) > 1


@pytest.mark.parametrize("heading", [0.0, 25.0, -160.0])
@pytest.mark.parametrize(("thing", "place"), [("watch", "wrist"), ("armband", "elbow"), ("badge", "shoulder")])
def test_what_tells_left_from_right_is_worn_on_the_left(thing: str, place: str, heading: float) -> None:
    plain, (person,) = perform(actor(heading))
    adorned = actor(heading)._replace(look=replace(plain_look(), **{thing: (255, 0, 255)}))
    changed = (perform(adorned)[0] != plain).any(axis=2)
    if thing == "badge" and abs(heading) > 90:
        assert not changed.any()
        return
    rows, columns = np.nonzero(changed)
    middle = columns.mean() + 0.5, rows.mean() + 0.5
    to_left, to_right = (
        np.hypot(*np.subtract(joint(person, f"{side}_{place}")[:2], middle)) for side in ("left", "right")
    )
    assert len(rows) > 4
    assert to_left < 0.6 * to_right


def test_bones_keep_their_lengths() -> None:
    rng, body = np.random.default_rng(2), plain_body()
    for _ in range(40):
        rig = solve(body, sample_pose(rng), float(rng.uniform(-180, 180)), 8.0)
        for start, end, length in (
            (rig.shoulders, rig.elbows, body.upper_arm),
            (rig.elbows, rig.wrists, body.forearm),
            (rig.hips, rig.knees, body.thigh),
            (rig.knees, rig.ankles, body.shin),
        ):
            assert np.allclose(np.linalg.norm(end - start, axis=1), length)


def test_a_standing_person_is_as_tall_as_asked() -> None:
    straight = Pose(legs=(Leg(knee=0), Leg(knee=0)))
    _, (person,) = perform(actor(height=100, pose=straight))
    rows = np.flatnonzero(person.mask.any(axis=1))
    assert rows[-1] + 1 - rows[0] == pytest.approx(100, rel=0.07)
    assert rows[-1] + 1 == pytest.approx(120, abs=2)


def test_facing_bounds_how_far_people_turn_away() -> None:
    def headings(facing: float) -> list[float]:
        casts = [sample_cast(np.random.default_rng([5, seed]), SIZE, 50.0, facing=facing) for seed in range(40)]
        return [abs(actor.heading) for cast in casts for actor in cast]

    assert max(headings(30.0)) == 30.0
    assert min(headings(30.0)) < 10.0
    assert max(headings(180.0)) > 120.0
