import albumentations as A
import numpy as np
import pytest

from datamodules import geometry as g
from datamodules.augmentation import build_pipeline, fill_color, start
from datamodules.config import AugmentationConfig, DataConfig, Resize, Spread

WILD = AugmentationConfig(flip=0.5, rotation=45, scale=[0.75, 1.5], shift=0.1, shift_pixels=10)
FLIP = AugmentationConfig(flip=1.0)
NOTHING = AugmentationConfig(flip=0.0)


def config(**changes):
    return DataConfig(**{"size": 100, "max_size": 150, "train_size": [80, 120], "augmentation": WILD, **changes})


@pytest.fixture
def photograph():
    """Gray, 90 wide and 60 high, with a bright blob centred on each of ``DOTS``."""
    return paint(DOTS, (60, 90))


DOTS = np.array([[20.5, 15.0], [70.0, 30.5], [41.0, 44.0]])


def paint(dots, hw, sigma=2.5):
    y, x = np.mgrid[: hw[0], : hw[1]] + 0.5
    blobs = sum(np.exp(-((x - dx) ** 2 + (y - dy) ** 2) / (2 * sigma**2)) for dx, dy in dots)
    return np.repeat(np.round(255 * blobs.clip(0, 1)).astype(np.uint8)[..., None], 3, axis=2)


def centre_near(image, point, radius):
    """Centre of mass of ``image`` [H, W] in a disc around ``point``, continuous coordinates."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]] + 0.5
    weight = image * ((x - point[0]) ** 2 + (y - point[1]) ** 2 < radius**2)
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


@pytest.mark.parametrize(
    ("resize", "train", "hw"),
    [
        (Resize.shorter_side, False, (100, 150)),
        (Resize.letterbox, False, (67, 100)),
        (Resize.letterbox, True, (67, 100)),
        (Resize.crop, False, (67, 100)),
        (Resize.crop, True, (100, 100)),
    ],
)
def test_size_of_the_input(photograph, resize, train, hw):
    drawn = build_pipeline(config(resize=resize), train=train)(**start(photograph))
    assert drawn["image"].shape == (*hw, 3)
    if not train:
        np.testing.assert_allclose(drawn["matrix"], g.scaling(hw[1] / 90, hw[0] / 60), atol=1e-12)
        assert drawn["mirrored"] is False


def test_longer_side_is_limited():
    pipeline = build_pipeline(config(), train=False)
    assert pipeline(**start(np.zeros((300, 50, 3), np.uint8)))["image"].shape == (150, 25, 3)
    assert pipeline(**start(np.zeros((1, 1), np.uint8)[..., None].repeat(3, 2)))["image"].shape == (100, 100, 3)
    assert pipeline(**start(np.zeros((1, 2000, 3), np.uint8)))["image"].shape == (1, 150, 3)


def test_shorter_side_is_drawn_from_the_closed_range(photograph):
    pipeline = build_pipeline(config(train_size=[80, 82], augmentation=NOTHING), train=True)
    pipeline.set_random_seed(0)
    assert {pipeline(**start(photograph))["image"].shape[0] for _ in range(60)} == {80, 81, 82}


def test_nothing_drawn_returns_the_same_pixels(photograph):
    for resize in (Resize.shorter_side, Resize.crop):
        settings = config(resize=resize, size=60, train_size=[60, 60], augmentation=NOTHING)
        drawn = build_pipeline(settings, train=True)(**start(photograph[:, :60].copy()))
        np.testing.assert_array_equal(drawn["image"], photograph[:, :60])
        np.testing.assert_allclose(drawn["matrix"], g.identity(), atol=1e-12)


@pytest.mark.parametrize("resize", list(Resize))
def test_points_go_where_their_pixels_go(photograph, resize):
    """The centre of each blob lies within a tenth of a pixel of its mapped point, for every draw."""
    pipeline = build_pipeline(config(resize=resize), train=True)
    pipeline.set_random_seed(3)
    seen = 0
    for _ in range(25):
        drawn = pipeline(**start(photograph))
        radius = 8 * np.sqrt(abs(g.determinant(drawn["matrix"])))
        clean = drawn["image"][..., 0].astype(float) - fill_color([0.485] * 3)[0] * covered_by_fill(drawn)
        for point in g.map_points(drawn["matrix"], DOTS):
            inside = (point > radius).all() and (point < np.array(clean.shape[::-1]) - radius).all()
            if inside:
                np.testing.assert_allclose(centre_near(clean, point, radius), point, atol=0.1)
                seen += 1
    assert seen > 20


def covered_by_fill(drawn):
    """1 where the photograph does not reach, with the blend of the resampling at its border."""
    white = np.full((60, 90), 255, np.uint8)
    return 1 - g.warp_image(white, drawn["matrix"], drawn["image"].shape[:2]) / 255.0


def test_mirror_twin(photograph):
    """A mirrored sample is the mirror image of the unmirrored one, pixel by pixel and point by point."""
    plain = build_pipeline(config(train_size=[60, 60], augmentation=NOTHING), train=True)(**start(photograph))
    twin = build_pipeline(config(train_size=[60, 60], augmentation=FLIP), train=True)(**start(photograph))
    assert twin["mirrored"] is True
    np.testing.assert_array_equal(twin["image"], plain["image"][:, ::-1])
    np.testing.assert_allclose(g.map_points(twin["matrix"], DOTS), mirror(g.map_points(plain["matrix"], DOTS), 90))


@pytest.mark.parametrize("resize", list(Resize))
def test_mirror_twin_of_any_draw(photograph, resize):
    """Whatever else is drawn. Pixels agree to the fixed-point weights of the resampling."""
    for seed in range(8):
        twins = []
        for flip in (0.0, 1.0):
            augmentation = AugmentationConfig(flip=flip, rotation=45, scale=[0.75, 1.5], shift=0.1, shift_pixels=10)
            pipeline = build_pipeline(config(resize=resize, augmentation=augmentation), train=True)
            pipeline.set_random_seed(seed)
            twins.append(pipeline(**start(photograph)))
        plain, twin = twins
        width = plain["image"].shape[1]
        mapped = mirror(g.map_points(plain["matrix"], DOTS), width)
        np.testing.assert_allclose(g.map_points(twin["matrix"], DOTS), mapped, atol=1e-9)
        difference = np.abs(twin["image"].astype(int) - plain["image"][:, ::-1])
        assert difference.mean() < 0.5
        assert np.quantile(difference, 0.99) <= 8


def mirror(points, width):
    return np.stack([width - points[:, 0], points[:, 1]], axis=1)


def test_seed_repeats_a_draw(photograph):
    pipeline = build_pipeline(config(augmentation=AugmentationConfig(rotation=30, color=0.4)), train=True)
    draws = []
    for seed in (1, 2, 1):
        pipeline.set_random_seed(seed)
        draws.append(pipeline(**start(photograph))["image"])
    np.testing.assert_array_equal(draws[0], draws[2])
    assert draws[0].shape != draws[1].shape or (draws[0] != draws[1]).any()


def test_figures_are_those_configured(photograph):
    augmentation = AugmentationConfig(flip=0.3, rotation=20, rotation_probability=0.5, scale=[0.5, 2.0], shift=0.25)
    pipeline = build_pipeline(config(resize=Resize.crop, augmentation=augmentation), train=True)
    pipeline.set_random_seed(0)
    draws = [pipeline(**start(photograph)) for _ in range(400)]
    matrices = np.stack([drawn["matrix"] for drawn in draws])
    mirrored = np.array([drawn["mirrored"] for drawn in draws])
    factors = np.sqrt(np.abs([g.determinant(matrix) for matrix in matrices])) / (100 / 60)
    angles = np.degrees(np.arctan2(matrices[:, 1, 0] * np.where(mirrored, -1, 1), matrices[:, 1, 1]))
    centres = np.stack([g.map_points(matrix, np.array([45.0, 30.0])) for matrix in matrices]) - 50
    assert 0.22 < mirrored.mean() < 0.38
    assert 0.5 <= factors.min() < 0.55
    assert 1.9 < factors.max() <= 2.0
    assert 0.4 < (np.abs(angles) < 1e-6).mean() < 0.6
    assert 18 < np.abs(angles).max() <= 20 + 1e-6
    assert 23 < np.abs(centres).max() <= 25 + 1e-6


def test_normal_spread_is_that_of_the_top_down_bases(photograph):
    """The crop's size from N(1, 0.25) within 0.75 to 1.25, angles from N(0, 20) within ±40, six times in ten."""
    augmentation = AugmentationConfig(
        flip=0, rotation=20, rotation_probability=0.6, scale=[0.75, 1.25], spread=Spread.normal
    )
    pipeline = build_pipeline(config(resize=Resize.crop, augmentation=augmentation), train=True)
    pipeline.set_random_seed(0)
    matrices = np.stack([pipeline(**start(photograph))["matrix"] for _ in range(600)])
    crops = (100 / 60) / np.sqrt([g.determinant(matrix) for matrix in matrices])
    angles = np.degrees(np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0]))
    assert crops.min() == pytest.approx(0.75)
    assert crops.max() == pytest.approx(1.25)
    # 31.7 % of a normal distribution lie beyond one standard deviation, 4.6 % beyond two.
    assert np.isclose(np.abs(crops - 1), 0.25).mean() == pytest.approx(0.317, abs=0.06)
    turned = angles[np.abs(angles) > 1e-6]
    assert len(turned) / len(angles) == pytest.approx(0.6, abs=0.06)
    assert (np.abs(turned) < 20).mean() == pytest.approx(0.683, abs=0.07)
    assert np.isclose(np.abs(turned), 40).mean() == pytest.approx(0.046, abs=0.03)


def test_the_border_is_filled_with_the_mean(photograph):
    settings = config(resize=Resize.crop, augmentation=AugmentationConfig(flip=0, scale=[0.4, 0.4]))
    image = build_pipeline(settings, train=True)(**start(photograph))["image"]
    assert image[0, 0].tolist() == [124, 116, 104] == list(fill_color(settings.mean))


def test_the_pipelines_are_albumentations_own(photograph):
    """Colour and warp draw what they do in ``A.Compose``."""
    augmentation = AugmentationConfig(flip=0.5, rotation=30, scale=[0.7, 1.4], color=0.4)
    ours = build_pipeline(config(augmentation=augmentation), train=True)
    theirs = A.Compose(build_pipeline(config(augmentation=augmentation), train=True).transforms)
    for seed in range(6):
        ours.set_random_seed(seed)
        theirs.set_random_seed(seed)
        drawn, expected = (pipeline(**start(photograph)) for pipeline in (ours, theirs))
        np.testing.assert_array_equal(drawn["image"], expected["image"])
        np.testing.assert_array_equal(drawn["matrix"], expected["matrix"])
        assert drawn["mirrored"] == expected["mirrored"]
        assert drawn["hw"] == expected["hw"]
