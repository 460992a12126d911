import numpy as np
import pytest
import torch

from datamodules import geometry as g
from datamodules.coco import CocoDataModule
from datamodules.config import (
    AugmentationConfig,
    CropFill,
    CropShrink,
    DataConfig,
    JointsOutside,
    OnBadImage,
    Resize,
    View,
    WarpPlace,
)
from datamodules.device_warp import UnwarpedBatch, pack, room_for, sample, warp_batch
from datamodules.parcel import Plan
from datamodules.sampler import Draw
from datamodules.skeleton import COCO

FILL = (124, 116, 104)
WILD = AugmentationConfig(flip=0.5, rotation=45, scale=[0.4, 1.6], shift=0.2, color=0.4)
MAPS = {
    "turned": g.compose(g.translation(-25, -15), g.rotation(33), g.scaling(1.7, 1.7), g.translation(40, 30)),
    "mirrored and cut": g.compose(g.scaling(-0.8, 0.8), g.translation(40, -9)),
    "far shrunk": g.compose(g.scaling(0.3, 0.3), g.rotation(5), g.translation(6, 2)),
    "resized to the frame": g.scaling(80 / 50, 64 / 30),
    "mirrored to the frame": g.compose(g.scaling(-80 / 50, 64 / 30), g.translation(80, 0)),
    "not in the picture": g.translation(500, 500),
}


@pytest.fixture
def photograph():
    return np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8)


def on_device(photograph, matrix, hw, fill=FILL, averages_areas=True):
    sources = [g.source_of(photograph, matrix, hw, averages_areas=averages_areas)]
    plan = Plan()
    parcel = plan.parcel(room_for(plan, sources, hw))
    pack(sources, parcel.arrays)
    return sample(parcel.tensors(), slice(0, 1), torch.tensor(fill, dtype=torch.float32))[0].numpy()


def in_float64(photograph, matrix, hw):
    """Pixel by pixel, tap by tap."""
    back = np.linalg.inv(np.vstack([matrix, (0, 0, 1)]))
    height, width = photograph.shape[:2]
    result = np.zeros((*hw, 3))
    for i in range(hw[0]):
        for j in range(hw[1]):
            x, y, _ = back @ (j + 0.5, i + 0.5, 1) - (0.5, 0.5, 0)
            for row in (int(np.floor(y)), int(np.floor(y)) + 1):
                for column in (int(np.floor(x)), int(np.floor(x)) + 1):
                    is_pixel = 0 <= row < height and 0 <= column < width
                    value = photograph[row, column] if is_pixel else np.array(FILL)
                    result[i, j] += (1 - abs(y - row)) * (1 - abs(x - column)) * value
    return result


@pytest.mark.parametrize("name", ["turned", "mirrored and cut", "not in the picture"])
def test_sampling_is_bilinear_at_the_centres_of_pixels(photograph, name):
    """A pixel lies within half a level, of rounding, of what f64 gives, and a hundredth, of f32."""
    exact = in_float64(photograph, MAPS[name], (40, 56))
    assert np.abs(on_device(photograph, MAPS[name], (40, 56)) - exact).max() < 0.51


@pytest.mark.parametrize("averages_areas", [True, False])
@pytest.mark.parametrize("name", MAPS)
def test_pixels_are_the_workers(photograph, name, averages_areas):
    """OpenCV rounds its weights where ours are f32: a level apart at the most."""
    theirs = g.warp_image(photograph, MAPS[name], (64, 80), FILL, averages_areas=averages_areas)
    ours = on_device(photograph, MAPS[name], (64, 80), averages_areas=averages_areas)
    apart = np.abs(ours.astype(int) - theirs)
    assert apart.max() <= 1
    assert (apart == 0).mean() > 0.85


def test_without_averaging_a_shrunk_image_is_bilinear_of_the_photograph(photograph):
    exact = in_float64(photograph, MAPS["far shrunk"], (12, 20))
    assert np.abs(on_device(photograph, MAPS["far shrunk"], (12, 20), averages_areas=False) - exact).max() < 0.51


def test_a_mirror_image_is_the_mirrored_image(photograph):
    mirror = g.compose(g.scaling(-1, 1), g.translation(80, 0))
    for matrix in MAPS.values():
        twin = on_device(photograph, g.compose(matrix, mirror), (64, 80))
        apart = np.abs(twin.astype(int) - on_device(photograph, matrix, (64, 80))[:, ::-1])
        assert apart.max() <= 1
        assert (apart > 0).mean() < 0.002


def test_only_what_is_shown_is_handed_over(photograph):
    source = g.source_of(photograph, g.translation(-20, -10), (8, 6))
    assert source.pixels.shape == (10, 8, 3)
    np.testing.assert_array_equal(source.pixels, photograph[9:19, 19:27])
    assert g.source_of(photograph, MAPS["not in the picture"], (8, 6)).pixels.shape == (1, 1, 3)
    assert g.source_of(photograph, g.scaling(0.2, 0.2), (6, 10)).pixels.shape == (6, 10, 3)


def data(root, place, **changes):
    options = {
        "size": 64,
        "max_size": 96,
        "train_size": [48, 64],
        "num_workers": 0,
        "crop_size": [64, 48],
        "pad_multiple": 16,
    }
    config = DataConfig(**{"root": str(root), "batch_size": 2, "val_batch_size": 3, **options, **changes}, warp=place)
    module = CocoDataModule(config, COCO)
    module.setup("fit")
    return module


def batches(module, train):
    """With images, before they are normalised."""
    fill = module._colors(torch.device("cpu")).fill
    for batch in module.train_dataloader() if train else module.val_dataloader():
        yield warp_batch(batch, fill) if isinstance(batch, UnwarpedBatch) else batch


@pytest.fixture
def root(write_coco, person):
    """Photographs of three sizes, the middle one shrunk to a quarter by an evaluation."""
    people = [person(n, image_id=n, bbox=[5, 5, 30, 34], area=1100.0) for n in (1, 2, 3)]
    return write_coco(people, {1: (40, 60), 2: (260, 300), 3: (70, 50)})


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"resize": Resize.letterbox, "instance_masks": True},
        {"resize": Resize.crop, "augmentation": WILD},
        {"view": View.person, "augmentation": WILD},
        {
            "view": View.person,
            "augmentation": WILD,
            "crop_fill": CropFill.mean,
            "crop_shrink": CropShrink.area,
            "joints_outside": JointsOutside.drop,
        },
        {"view": View.main_person, "augmentation": WILD},
    ],
)
def test_batches_are_the_workers(root, changes, train):
    """Every view: all but the images to the last bit, the images to a level."""
    pairs = [list(batches(data(root, place, **changes), train)) for place in WarpPlace]
    assert [len(found) for found in pairs] == [1, 1]
    for theirs, ours in zip(*pairs, strict=True):
        assert ours.images.dtype == torch.uint8
        assert ours.images.is_contiguous()
        assert ours.images.shape == theirs.images.shape
        assert (ours.images.int() - theirs.images.int()).abs().max() <= 1
        for mine, other in zip(_rest(ours), _rest(theirs), strict=True):
            assert mine.equal(other)
        assert (ours.instance_masks is None) == (theirs.instance_masks is None)


def _rest(batch):
    return *batch.persons, batch.ignore, *batch.meta


def test_a_batch_is_its_single_samples(root, monkeypatch):
    """Photographs of all sizes side by side, also where memory allows but one at a time."""
    (together,) = batches(data(root, WarpPlace.device), train=False)
    monkeypatch.setattr("datamodules.device_warp._AT_ONCE", 1)
    (bounded,) = batches(data(root, WarpPlace.device), train=False)
    assert bounded.images.equal(together.images)
    singles = batches(data(root, WarpPlace.device, val_batch_size=1), train=False)
    for row, single in zip(together.images, singles, strict=True):
        height, width = single.images.shape[2:]
        assert row[:, :height, :width].equal(single.images[0])
        assert row.sum() == single.images.sum()


def collated(module, keys, train=False):
    dataset = module.train_set if train else module.val_set
    return module.val_dataloader().collate_fn(dataset.__getitems__(keys))


@pytest.mark.parametrize(("view", "is_in_place"), [(View.image, True), (View.main_person, True), (View.person, False)])
def test_photographs_are_decoded_where_they_are_handed_over(root, view, is_in_place):
    """Whole, so that rows of a part of one are as far apart as its own; else the parts alone."""
    module = data(root, WarpPlace.device, view=view, crop_size=[32, 32])
    keys, train = [0, 1, 2], view is View.main_person
    pixels, _, stride, hw, *_ = collated(module, keys, train).photographs
    assert (len(pixels) == 40 * 60 + 260 * 300 + 70 * 50) == is_in_place
    assert (len(pixels) == hw.prod(dim=1).sum()) != is_in_place
    if not is_in_place:
        assert stride.equal(hw[:, 1])


@pytest.mark.parametrize("changes", [{}, {"resize": Resize.crop, "augmentation": WILD}])
def test_large_photographs_are_copied_to_the_same_images(root, changes, monkeypatch):
    """Also samples that were fetched apart."""
    module, keys = data(root, WarpPlace.device, **changes), [Draw(n, 0) for n in range(3)]
    fill = module._colors(torch.device("cpu")).fill
    dataset, collate = module.train_set, module.train_dataloader().collate_fn
    in_place = collate(dataset.__getitems__(keys))
    apart = collate([dataset[key] for key in keys])
    monkeypatch.setattr("datamodules.device_warp._DECODED_IN_PLACE", 100)
    copied = collate(dataset.__getitems__(keys))
    assert len(in_place.photographs.pixels) > len(copied.photographs.pixels)
    for other in (apart, copied):
        assert warp_batch(other, fill).images.equal(warp_batch(in_place, fill).images)


def test_another_photograph_in_the_place_of_an_unreadable_one(root):
    """A larger one, that does not fit there."""
    module = data(root, WarpPlace.device, on_bad_image=OnBadImage.skip)
    (root / "train2017/1.png").write_bytes((root / "train2017/1.png").read_bytes()[:300])
    keys = [Draw(0, 0), Draw(2, 0)]
    batch = module.train_dataloader().collate_fn(module.train_set.__getitems__(keys))
    assert batch.batch.meta.image_id.tolist() == [2, 3]
    plain = data(root, WarpPlace.worker, on_bad_image=OnBadImage.skip)
    expected = plain.train_dataloader().collate_fn(plain.train_set.__getitems__(keys))
    images = warp_batch(batch, module._colors(torch.device("cpu")).fill).images
    assert (images.int() - expected.images.int()).abs().max() <= 1


def test_from_a_worker_to_normalised_images(root):
    """Through a worker's shared memory and the hook that Lightning calls."""
    module, plain = (data(root, place, num_workers=1) for place in (WarpPlace.device, WarpPlace.worker))
    (batch,), (expected,) = (
        [each.on_after_batch_transfer(batch, 0) for batch in each.val_dataloader()] for each in (module, plain)
    )
    assert batch.images.dtype == torch.float32
    assert (batch.images - expected.images).abs().max() < 1.01 / 255 / min(module.config.std)
    height, width = batch.meta.input_hw[0].tolist()
    assert (batch.images[0, :, height:] == 0).all()
    assert (batch.images[0, :, :, width:] == 0).all()
    assert module.on_after_batch_transfer(batch, 0).images is batch.images


@pytest.mark.parametrize("view", [View.image, View.person])
def test_what_cannot_be_read_is_black(root, view):
    modules = [data(root, place, view=view, on_bad_image=OnBadImage.skip) for place in WarpPlace]
    (root / "val2017/2.png").write_bytes((root / "val2017/2.png").read_bytes()[:300])
    (theirs,), (ours,) = (list(batches(module, train=False)) for module in modules)
    assert not ours.images[1].any()
    assert (ours.images.int() - theirs.images.int()).abs().max() <= 1


def test_nobody_to_evaluate_is_a_black_crop(write_coco, person):
    root = write_coco([person(1, keypoints=[0] * 51, num_keypoints=0)])
    module = CocoDataModule(
        DataConfig(root=str(root), view=View.person, num_workers=0, crop_size=[64, 32], warp=WarpPlace.device), COCO
    )
    module.setup("validate")
    (batch,) = batches(module, train=False)
    assert batch.images.shape == (1, 3, 64, 32)
    assert not batch.images.any()
