"""The ``data`` section of a run's configuration. Imports nothing heavy: a typo is told before torch is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import List, Optional


class View(Enum):
    """What one sample is."""

    image = "image"
    person = "person"
    """A crop around one person, for top-down papers."""
    main_person = "main_person"
    """Training on squares around people, as the CMU pipeline; evaluation on whole photographs as ``image``."""


class Resize(Enum):
    """How a photograph meets the input size of the whole-image view."""

    shorter_side = "shorter_side"
    """Shorter side to ``size`` (in training random within ``train_size``), longer side at most ``max_size``; padded."""
    letterbox = "letterbox"
    """Longer side to ``size``, padded to a square."""
    crop = "crop"
    """Shorter side to ``size``, then a square window of that side: training of bottom-up papers."""


class WarpPlace(Enum):
    """Where a photograph becomes an input."""

    worker = "worker"
    """In the DataLoader's workers, by OpenCV."""
    device = "device"
    """On the device, a batch at once, to the same pixels up to rounding: workers decode, and hand over what is sampled.
    For a GPU that waits for its workers. Colours are still drawn in the workers."""


class CropFill(Enum):
    """Colour of a person crop beyond its photograph."""

    black = "black"
    """Pixel 0 before normalisation, as the code of SimpleBaseline, HRNet and TransPose."""
    mean = "mean"
    """``data.mean``: about 0 once normalised."""


class CropShrink(Enum):
    """Resampling of person crops smaller than half their size in the photograph."""

    bilinear = "bilinear"
    """Bilinear at any size, as the code of SimpleBaseline, HRNet and TransPose (``cv2.warpAffine``)."""
    area = "area"
    """Areas are averaged first, so that nothing aliases."""


class JointsOutside(Enum):
    """Labelled joints that lie outside a person crop."""

    keep = "keep"
    """Supervised as long as their Gaussian (3σ) reaches the map, as in the code of SimpleBaseline and HRNet."""
    drop = "drop"
    """Not labelled."""


class OnBadImage(Enum):
    error = "error"
    skip = "skip"


class OnBadAnnotation(Enum):
    error = "error"
    drop = "drop"


class IgnoreShape(Enum):
    """What an ignored person or crowd covers in ``PoseBatch.ignore``."""

    box = "box"
    mask = "mask"


class Spread(Enum):
    """How ``rotation`` and ``scale`` are drawn."""

    uniform = "uniform"
    """Even in ±rotation and in the range of ``scale``."""
    normal = "normal"
    """As SimpleBaseline and HRNet: the angle from N(0, rotation), at most twice that; the *crop's* size, so the inverse
    of the person's, from N(1, half the range of ``scale``), within ``scale``."""


class EvaluationBackend(Enum):
    """What computes COCO's figures; they are the same to the last bit."""

    pycocotools = "pycocotools"
    hotcoco = "hotcoco"
    """Some twenty times as fast; a package of its own."""


@dataclass
class AugmentationConfig:
    """Geometry and colour of training samples; each paper's YAML states its own figures."""

    flip: float = 0.5
    """Probability of the mirror image."""
    rotation: float = 0.0
    """Degrees, in ±rotation."""
    rotation_probability: float = 1.0
    scale: List[float] = field(default_factory=lambda: [1.0, 1.0])
    """Factor on the size a person has in the input."""
    spread: Spread = Spread.uniform
    shift: float = 0.0
    """Uniform in ±shift, as a fraction of the input size."""
    shift_pixels: float = 0.0
    """Uniform in ±shift_pixels, input pixels; added to ``shift``."""
    color: float = 0.0
    """Strength of brightness, contrast, saturation and hue jitter; 0 is off."""
    half_body: float = 0.0
    """Person view: probability of a crop around the upper or lower body alone, where more than 8 joints are labelled
    (HRNet's recipes: 0.3)."""
    half_body_upper: float = 0.69
    """Probability of the upper half where either may be taken. HRNet's published models were trained with a normal
    number below 0.5, which is 0.69; 0.5 is the text's even choice."""


class SoftNms(Enum):
    """What happens to the score of a detection that overlaps a better one (Bodla et al., 2017)."""

    none = "none"
    linear = "linear"
    """× (1 − IoU) where IoU is above ``soft_nms_iou``."""
    gaussian = "gaussian"
    """× exp(−IoU² / ``soft_nms_sigma``)."""


@dataclass
class DetectionsConfig:
    """The boxes a person view is evaluated on."""

    file: Optional[str] = None
    """COCO detection results of the evaluated split; null takes ground-truth boxes."""
    soft_nms: SoftNms = SoftNms.none
    soft_nms_sigma: float = 0.5
    soft_nms_iou: float = 0.3
    score_threshold: float = 0.0
    """Detections whose score, after soft-NMS, is not above this are left out."""


@dataclass
class RenderedConfig:
    """The rendered people that stand in where ``data.root`` is not given (see ``datamodules.synthetic``)."""

    train_images: int = 2000
    val_images: int = 200
    size: int = 256
    """Width and height of a rendered image, pixels."""
    seed: int = 0
    max_people: int = 6
    """People placed in a scene, at most; crowds and blurred passers-by come on top unless ``min_height`` rules."""
    min_height: float = 0.0
    """Least standing height of a person, as a fraction of the image; above 0 there are no crowds and passers-by."""
    facing: float = 180.0
    """Most degrees a person is turned away from the viewer; below 180 nobody is seen from behind."""


@dataclass
class DataConfig:
    root: Optional[str] = None
    """Folder in COCO's own layout: ``annotations/person_keypoints_<split>.json`` and ``<split>/*.jpg``."""
    rendered: Optional[RenderedConfig] = None
    """Set by presets: used where ``root`` is null."""
    train_split: str = "train2017"
    val_split: str = "val2017"
    train_image_ids: Optional[List[int]] = None
    """Train on these images only."""
    val_image_ids: Optional[List[int]] = None
    """Evaluate on these images only."""
    limit_train: Optional[int] = None
    """Train on the first so many images that have a labelled person."""
    limit_val: Optional[int] = None
    """Evaluate on the first so many images."""
    skeleton: Optional[str] = None
    """YAML file of another skeleton; null is COCO's 17 keypoints."""

    view: View = View.image
    resize: Resize = Resize.shorter_side
    size: int = 800
    """Test size: shorter side (``shorter_side``) or side of the square (``letterbox``, ``crop``), pixels."""
    max_size: int = 1333
    """Longest side under ``shorter_side``."""
    train_size: List[int] = field(default_factory=lambda: [640, 800])
    """Shorter side in training, uniform in this closed range."""
    warp: WarpPlace = WarpPlace.worker
    """Where photographs are resized, turned and cut: in the workers, or on the device."""
    pad_multiple: int = 32
    crop_size: List[int] = field(default_factory=lambda: [256, 192])
    """Height and width of a person crop, and of a training sample of the main-person view."""
    main_person_height: float = 0.6
    """Main-person view: height of the person's box as a fraction of the crop's, before augmentation."""
    box_padding: float = 1.25
    """A person crop covers its box times this."""
    crop_fill: CropFill = CropFill.black
    """Person view: colour beyond the photograph."""
    crop_shrink: CropShrink = CropShrink.bilinear
    """Person view: resampling of crops smaller than half their size in the photograph."""
    joints_outside: JointsOutside = JointsOutside.keep
    """Person view: labelled joints outside the crop."""
    detections: DetectionsConfig = field(default_factory=DetectionsConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)

    mean: List[float] = field(default_factory=lambda: [0.485, 0.456, 0.406])
    """Per RGB channel, of images in [0, 1]."""
    std: List[float] = field(default_factory=lambda: [0.229, 0.224, 0.225])
    ignore_shape: IgnoreShape = IgnoreShape.box
    instance_masks: bool = False
    train_without_people: bool = False
    """Keep training images that show no labelled person."""

    batch_size: int = 2
    """The most training samples a device takes at a time; fewer where the recipe's batch needs fewer of each device."""
    val_batch_size: int = 1
    num_workers: int = 4
    worker_timeout: int = 600
    """Seconds after which a batch that no worker delivers is an error instead of a hang."""
    on_bad_image: OnBadImage = OnBadImage.error
    on_bad_annotation: OnBadAnnotation = OnBadAnnotation.error
    max_image_pixels: int = 100_000_000
    """Larger photographs are refused before they are decoded."""

    def validate(self) -> None:
        """Raises:
        ValueError: a value makes no sense; one line that names the key and the rule.
        """
        drawn, found = self.augmentation, self.detections
        is_cut = self.view is View.image or not any(side % max(self.pad_multiple, 1) for side in self.crop_size)
        rules = (
            ("size", self.size, self.size >= 1, "must be at least 1"),
            ("max_size", self.max_size, self.max_size >= 1, "must be at least 1"),
            ("train_size", self.train_size, _is_range(self.train_size, 1), "must be [low, high], from 1"),
            ("pad_multiple", self.pad_multiple, self.pad_multiple >= 1, "must be at least 1"),
            ("crop_size", self.crop_size, len(self.crop_size) == 2 and min(self.crop_size) >= 1, "is [height, width]"),
            (
                "crop_size",
                self.crop_size,
                is_cut,
                f"would be padded: take multiples of data.pad_multiple={self.pad_multiple}",
            ),
            ("box_padding", self.box_padding, self.box_padding > 0, "must be positive"),
            ("main_person_height", self.main_person_height, self.main_person_height > 0, "must be positive"),
            ("mean", self.mean, len(self.mean) == 3, "needs three values"),
            (
                "mean",
                self.mean,
                all(0 <= value <= 1 for value in self.mean),
                "is of images in [0, 1]: divide it and data.std by 255",
            ),
            ("std", self.std, len(self.std) == 3 and min(self.std) > 0, "needs three positive values"),
            ("batch_size", self.batch_size, self.batch_size >= 1, "must be at least 1"),
            ("val_batch_size", self.val_batch_size, self.val_batch_size >= 1, "must be at least 1"),
            ("num_workers", self.num_workers, self.num_workers >= 0, "must not be negative"),
            ("worker_timeout", self.worker_timeout, self.worker_timeout >= 0, "must not be negative; 0 waits for ever"),
            ("limit_train", self.limit_train, self.limit_train is None or self.limit_train >= 1, "must be at least 1"),
            ("limit_val", self.limit_val, self.limit_val is None or self.limit_val >= 1, "must be at least 1"),
            ("max_image_pixels", self.max_image_pixels, self.max_image_pixels >= 1, "must be at least 1"),
            ("augmentation.flip", drawn.flip, 0 <= drawn.flip <= 1, "is a probability"),
            ("augmentation.rotation", drawn.rotation, drawn.rotation >= 0, "must not be negative"),
            (
                "augmentation.rotation_probability",
                drawn.rotation_probability,
                0 <= drawn.rotation_probability <= 1,
                "is a probability",
            ),
            ("augmentation.scale", drawn.scale, _is_range(drawn.scale, 1e-3), "must be [low, high], positive"),
            ("augmentation.shift", drawn.shift, drawn.shift >= 0, "must not be negative"),
            ("augmentation.shift_pixels", drawn.shift_pixels, drawn.shift_pixels >= 0, "must not be negative"),
            ("augmentation.color", drawn.color, 0 <= drawn.color <= 1, "must be in [0, 1]"),
            ("augmentation.half_body", drawn.half_body, 0 <= drawn.half_body <= 1, "is a probability"),
            (
                "augmentation.half_body_upper",
                drawn.half_body_upper,
                0 <= drawn.half_body_upper <= 1,
                "is a probability",
            ),
            ("detections.soft_nms_sigma", found.soft_nms_sigma, found.soft_nms_sigma > 0, "must be positive"),
            ("detections.soft_nms_iou", found.soft_nms_iou, 0 <= found.soft_nms_iou <= 1, "must be in [0, 1]"),
        )
        for key, value, holds, rule in rules:
            if not holds:
                raise ValueError(f"data.{key}: {rule}, got {value}")


def _is_range(values: Sequence[float], least: float) -> bool:
    return len(values) == 2 and least <= values[0] <= values[1]
