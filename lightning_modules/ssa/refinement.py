"""Grouped people against a single-person network: joints replaced where both agree, filled where none was found."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.nn import functional as F

from datamodules.skeleton import Skeleton
from lightning_modules.shared.peaks import average_flipped, quarter_peaks
from lightning_modules.ssa.config import DecodeConfig, Refinement, RefinerConfig
from lightning_modules.ssa.decode import People
from lightning_modules.ssa.network import HEATMAP_STRIDE, Refiner


class PersonRefiner:
    """Refinement#1 and #2 of Tables 1 and 2.

    choice: people are cropped from the network's input, which at 640 pixels has the resolution of COCO's photographs.
    A joint's score and a person's score stay what the bottom-up network gave them; a filled joint takes the refiner's.

    Args:
        refiner: in eval mode; it follows the images to their device.
        config: of the refiner.
        sigmas: K OKS sigmas.
        flip_permutation: K joint indices of the mirror image.
        fill: also fill joints that were not found (Refinement#2).
        agreement: keypoint similarity above which a joint is replaced.
        mask_threshold: of the person masks that give the boxes and areas.
    """

    def __init__(
        self,
        refiner: Refiner,
        config: RefinerConfig,
        *,
        sigmas: tuple[float, ...],
        flip_permutation: tuple[int, ...],
        fill: bool,
        agreement: float,
        mask_threshold: float,
    ) -> None:
        self.refiner = refiner
        self.config = config
        self.sigmas = sigmas
        self.flip_permutation = list(flip_permutation)
        self.fill = fill
        self.agreement = agreement
        self.mask_threshold = mask_threshold

    @torch.no_grad()
    def __call__(self, images: Tensor, people: list[People]) -> list[People]:
        """Normalised images [B, 3, H, W] and their people, in the same order."""
        pairs = zip(images, people, strict=True)
        return [self._refine(image, found) if len(found.scores) else found for image, found in pairs]

    def _refine(self, image: Tensor, people: People) -> People:
        input_hw = (image.shape[1], image.shape[2])
        boxes, areas = mask_boxes(people.attention, input_hw, self.mask_threshold)
        crop_hw = (self.config.crop_size[0], self.config.crop_size[1])
        windows = crop_windows(boxes, crop_hw, self.config.box_padding)
        flip = self.flip_permutation if self.config.flip_test else None
        proposed = best_places(self.refiner.to(image.device), crop(image, windows, crop_hw), flip)
        scale = (windows[:, 2:] - windows[:, :2]) / proposed.new_tensor([crop_hw[1], crop_hw[0]])
        points = windows[:, None, :2] + proposed[..., :2] * scale[:, None]
        keypoints = update_keypoints(
            people.keypoints,
            torch.cat([points, proposed[..., 2:]], dim=2),
            areas,
            sigmas=proposed.new_tensor(self.sigmas),
            agreement=self.agreement,
            fill=self.fill,
        )
        return people._replace(keypoints=keypoints)


def build_person_refiner(config: DecodeConfig, skeleton: Skeleton) -> PersonRefiner | None:
    """What ``config`` asks for; None without refinement.

    Raises:
        ValueError: refinement without a checkpoint, or one that is not a trained refiner of this skeleton.
    """
    if config.refinement is Refinement.none:
        return None
    if config.refiner is None:
        raise ValueError(
            f"model.decode.refinement={config.refinement.value} needs model.decode.refiner=CHECKPOINT "
            f"of a run of --paper ssa_refiner"
        )
    refiner, refiner_config = load_refiner(Path(config.refiner), skeleton.num_keypoints)
    return PersonRefiner(
        refiner,
        refiner_config,
        sigmas=skeleton.sigmas,
        flip_permutation=skeleton.flip_permutation,
        fill=config.refinement is Refinement.fill,
        agreement=config.agreement,
        mask_threshold=config.mask_threshold,
    )


def load_refiner(path: Path, num_keypoints: int) -> tuple[Refiner, RefinerConfig]:
    """The network of a checkpoint of paper ``ssa_refiner``, in eval mode without gradients, and its configuration.

    Raises:
        ValueError: no such file, another kind of checkpoint, or weights of another skeleton.
    """
    where = f"model.decode.refiner={path}"
    if not path.is_file():
        raise ValueError(f"{where}: no such file")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        parameters, state = checkpoint["hyper_parameters"], checkpoint["state_dict"]
    except (pickle.UnpicklingError, RuntimeError, KeyError, TypeError, EOFError) as error:
        raise ValueError(f"{where}: not a checkpoint of this suite") from error
    if parameters.get("paper") != "ssa_refiner":
        raise ValueError(f"{where}: a checkpoint of paper {parameters.get('paper')!r}, ssa_refiner is needed")
    plain = OmegaConf.merge(OmegaConf.structured(RefinerConfig), parameters["config"], {"backbone": {"weights": None}})
    config = OmegaConf.to_object(plain)
    assert isinstance(config, RefinerConfig)
    refiner = Refiner(config, num_keypoints)
    prefix = "network."
    try:
        refiner.load_state_dict({key.removeprefix(prefix): v for key, v in state.items() if key.startswith(prefix)})
    except RuntimeError as error:
        raise ValueError(f"{where}: {str(error).splitlines()[-1].strip()}") from error
    return refiner.eval().requires_grad_(False), config


def best_places(refiner: nn.Module, crops: Tensor, flip_permutation: list[int] | None) -> Tensor:
    """The best cell of each joint's heatmap: f32 [m, K, 3], x and y in crop pixels, and its value.

    With ``flip_permutation`` the heatmaps are averaged with those of the mirrored crops.
    """
    heatmaps = refiner(crops).float()
    if flip_permutation is not None:
        mirrored = refiner(crops.flip(3)).float()
        heatmaps = average_flipped(heatmaps, mirrored, torch.tensor(flip_permutation, device=crops.device))
    points, scores = quarter_peaks(heatmaps)
    return torch.cat([(points + 0.5) * HEATMAP_STRIDE, scores.clamp_min(0.0)[..., None]], dim=2)


def mask_boxes(attention: Tensor, input_hw: tuple[int, int], threshold: float) -> tuple[Tensor, Tensor]:
    """Boxes and areas of the masks that attention gives at a quarter of the input's resolution.

    Args:
        attention: f32 [m, h, w], normalised.

    Returns:
        f32 [m, 4] x0 y0 x1 y1 and f32 [m], input pixels and their square. An empty mask: the whole input, area 0.
    """
    height, width = input_hw[0] // HEATMAP_STRIDE, input_hw[1] // HEATMAP_STRIDE
    masks = F.interpolate(attention[:, None], size=(height, width), mode="bilinear", align_corners=False)[:, 0]
    masks = masks > threshold
    x0, x1 = _extent(masks.any(1))
    y0, y1 = _extent(masks.any(2))
    boxes = torch.stack([x0, y0, x1, y1], dim=1).float() * HEATMAP_STRIDE
    return boxes, masks.sum(dim=(1, 2)).float() * HEATMAP_STRIDE**2


def _extent(is_covered: Tensor) -> tuple[Tensor, Tensor]:
    """First covered index and one past the last, of bool [m, n]."""
    length = is_covered.shape[1]
    return is_covered.float().argmax(1), length - is_covered.flip(1).float().argmax(1)


def crop_windows(boxes: Tensor, crop_hw: tuple[int, int], padding: float) -> Tensor:
    """Boxes f32 [m, 4] grown about their centres to the crop's aspect, then by ``padding``; f32 [m, 4]."""
    center, size = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    height = torch.maximum(size[:, 1], size[:, 0] * crop_hw[0] / crop_hw[1]) * padding
    half = torch.stack([height * crop_hw[1] / crop_hw[0], height], dim=1) / 2
    return torch.cat([center - half, center + half], dim=1)


def crop(image: Tensor, windows: Tensor, crop_hw: tuple[int, int]) -> Tensor:
    """Windows f32 [m, 4] of an image [3, H, W], bilinear, 0 outside: [m, 3, *crop_hw]."""
    size = windows.new_tensor([image.shape[2], image.shape[1]])
    center = (windows[:, :2] + windows[:, 2:]) / size - 1
    extent = (windows[:, 2:] - windows[:, :2]) / size
    theta = torch.cat([torch.diag_embed(extent), center[..., None]], dim=2)
    grid = F.affine_grid(theta, [len(windows), 3, *crop_hw], align_corners=False)
    return F.grid_sample(image.expand(len(windows), -1, -1, -1), grid.to(image.dtype), align_corners=False)


def update_keypoints(
    keypoints: Tensor, proposed: Tensor, areas: Tensor, *, sigmas: Tensor, agreement: float, fill: bool
) -> Tensor:
    """The update rule of Section 3.1 with KS = exp(-d² / (2 · area · (2σ)²)).

    Args:
        keypoints: f32 [m, K, 3], x, y, score; score 0 where none was found.
        proposed: f32 [m, K, 3], the refiner's.
        areas: f32 [m], of the person masks, in the same pixels squared.
        sigmas: f32 [K].
        agreement: a found joint moves to the refiner's place where KS exceeds it, and keeps its score.
        fill: joints that were not found take the refiner's place and score.
    """
    distance = (keypoints[..., :2] - proposed[..., :2]).square().sum(2)
    similarity = torch.exp(-distance / (2 * areas[:, None].clamp_min(1e-6) * (2 * sigmas) ** 2))
    is_found = keypoints[..., 2] > 0
    agrees = is_found & (similarity > agreement)
    moved = torch.cat([proposed[..., :2], keypoints[..., 2:]], dim=2)
    result = torch.where(agrees[..., None], moved, keypoints)
    return torch.where(is_found[..., None], result, proposed) if fill else result
