import pytest

from datamodules.config import AugmentationConfig, DataConfig, DetectionsConfig, View


def test_the_defaults_make_sense():
    DataConfig().validate()


def test_a_crop_is_as_large_as_the_batch_it_lies_in():
    DataConfig(view=View.person, crop_size=[96, 72], pad_multiple=8).validate()
    DataConfig(view=View.image, crop_size=[96, 72], pad_multiple=32).validate()  # nothing is cropped


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"size": 0}, "data.size: must be at least 1, got 0"),
        ({"max_size": 0}, "data.max_size: must be at least 1, got 0"),
        ({"train_size": [800]}, "data.train_size: must be [low, high], from 1, got [800]"),
        ({"train_size": [800, 640]}, "data.train_size: must be [low, high], from 1, got [800, 640]"),
        ({"pad_multiple": 0}, "data.pad_multiple: must be at least 1, got 0"),
        ({"crop_size": [256]}, "data.crop_size: is [height, width], got [256]"),
        (
            {"view": View.person, "crop_size": [96, 72]},
            "data.crop_size: would be padded: take multiples of data.pad_multiple=32, got [96, 72]",
        ),
        ({"box_padding": 0.0}, "data.box_padding: must be positive, got 0.0"),
        ({"mean": [0.5]}, "data.mean: needs three values, got [0.5]"),
        (
            {"mean": [123.7, 116.3, 103.5]},
            "data.mean: is of images in [0, 1]: divide it and data.std by 255, got [123.7, 116.3, 103.5]",
        ),
        ({"main_person_height": 0.0}, "data.main_person_height: must be positive, got 0.0"),
        (
            {"detections": DetectionsConfig(soft_nms_sigma=0.0)},
            "data.detections.soft_nms_sigma: must be positive, got 0.0",
        ),
        (
            {"detections": DetectionsConfig(soft_nms_iou=1.5)},
            "data.detections.soft_nms_iou: must be in [0, 1], got 1.5",
        ),
        ({"augmentation": AugmentationConfig(half_body=3)}, "data.augmentation.half_body: is a probability, got 3"),
        ({"std": [0.2, 0.2, 0.0]}, "data.std: needs three positive values, got [0.2, 0.2, 0.0]"),
        ({"batch_size": 0}, "data.batch_size: must be at least 1, got 0"),
        ({"val_batch_size": 0}, "data.val_batch_size: must be at least 1, got 0"),
        ({"num_workers": -1}, "data.num_workers: must not be negative, got -1"),
        ({"worker_timeout": -1}, "data.worker_timeout: must not be negative; 0 waits for ever, got -1"),
        ({"limit_train": 0}, "data.limit_train: must be at least 1, got 0"),
        ({"limit_val": 0}, "data.limit_val: must be at least 1, got 0"),
        ({"max_image_pixels": 0}, "data.max_image_pixels: must be at least 1, got 0"),
        ({"augmentation": AugmentationConfig(flip=1.5)}, "data.augmentation.flip: is a probability, got 1.5"),
        ({"augmentation": AugmentationConfig(rotation=-1)}, "data.augmentation.rotation: must not be negative, got -1"),
        (
            {"augmentation": AugmentationConfig(rotation_probability=-1)},
            "data.augmentation.rotation_probability: is a probability, got -1",
        ),
        (
            {"augmentation": AugmentationConfig(scale=[0.0, 1.0])},
            "data.augmentation.scale: must be [low, high], positive, got [0.0, 1.0]",
        ),
        ({"augmentation": AugmentationConfig(shift=-0.1)}, "data.augmentation.shift: must not be negative, got -0.1"),
        (
            {"augmentation": AugmentationConfig(shift_pixels=-1)},
            "data.augmentation.shift_pixels: must not be negative, got -1",
        ),
        ({"augmentation": AugmentationConfig(color=2)}, "data.augmentation.color: must be in [0, 1], got 2"),
    ],
)
def test_values_that_make_no_sense_are_named(changes, line):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole line is compared
        DataConfig(**changes).validate()
    assert str(error.value) == line
