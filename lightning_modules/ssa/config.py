"""Every knob and ablation switch of the paper; the defaults are its final choice. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Dict, List, Optional

from lightning_modules.shared.config import BackboneConfig


class Supervision(Enum):
    """Which attention the masks supervise (Table 5)."""

    shared = "shared"
    """That of an encoder layer."""
    independent = "independent"
    """One of its own beside that layer, from the same tokens."""


class Association(Enum):
    """Which attention groups the keypoints (Section 3.2)."""

    supervised = "supervised"
    naive = "naive"
    """The average of all layers."""


class Grouping(Enum):
    """Section 2.4, Table 6."""

    part_first = "part_first"
    body_first = "body_first"


class Matching(Enum):
    """What part-first grouping maximises."""

    attraction = "attraction"
    """The paper's text."""
    scored = "scored"
    """Score × attraction, as in Eq. 5; λ is compared with the attraction alone."""


class Refinement(Enum):
    """What a single-person network does to the grouped people (Tables 1 and 2)."""

    none = "none"
    replace = "replace"
    """Refinement#1: joints on which both agree."""
    fill = "fill"
    """Refinement#2: also joints that were not found."""


@dataclass
class LossWeights:
    """Eq. 4."""

    heatmap: float = 1.0
    """α."""
    mask: float = 0.01
    """β; 0 is the naive model (Fig. 5)."""


@dataclass
class RefinerConfig:
    """TransPose-R-A4, the single-person network of the refinement rows."""

    backbone: BackboneConfig = field(default_factory=lambda: BackboneConfig(name="resnet50.tv_in1k", frozen_stages=0))
    """Its first three stages are used: stride 8."""
    width: int = 256
    feedforward: int = 1024
    heads: int = 8
    layers: int = 4
    dropout: float = 0.1
    crop_size: List[int] = field(default_factory=lambda: [256, 192])
    """Height and width of a person crop at refinement, the same as ``data.crop_size`` in its training."""
    box_padding: float = 1.25
    """A person crop covers the box of the predicted mask times this."""
    sigma: float = 2.0
    flip_test: bool = True
    """Average with the mirror image at test."""


@dataclass
class DecodeConfig:
    candidate_threshold: float = 0.0025
    """t: heatmap values above it are candidates."""
    nms_window: int = 7
    """Heatmap cells."""
    max_candidates: int = 30
    """Kept per joint type."""
    association: Association = Association.supervised
    grouping: Grouping = Grouping.part_first
    matching: Matching = Matching.attraction
    attraction_threshold: float = 0.0025
    """λ: the least attraction of a match."""
    mask_threshold: float = 0.4
    """σ of Section 2.5, on attention divided by its maximum."""
    merge_overlap: float = 0.3
    """Intersection over the larger area above which two instances are one; 1 keeps all."""
    max_persons: int = 20
    """Returned per image."""
    masks: bool = True
    """Return person masks at the photograph's size."""
    refinement: Refinement = Refinement.none
    refiner: Optional[str] = None
    """Checkpoint of a run of paper ``ssa_refiner``; refinement needs it."""
    agreement: float = 0.75
    """Keypoint similarity above which both networks mean the same joint."""


@dataclass
class Config:
    backbone: BackboneConfig = field(default_factory=lambda: BackboneConfig(name="resnet101.tv_in1k", frozen_stages=0))
    stride: int = 16
    """r of the tokens, 8 or 16: later stages are dilated."""
    width: int = 192
    """d of the tokens and of the head."""
    feedforward: int = 384
    heads: int = 1
    layers: int = 6
    dropout: float = 0.1
    supervised_layer: int = 4
    """Counted from 1 (Table 4)."""
    supervision: Supervision = Supervision.shared
    loss_weights: LossWeights = field(default_factory=LossWeights)
    sigma: float = 2.0
    """Of a keypoint's Gaussian, heatmap cells of 4 pixels."""
    decode: DecodeConfig = field(default_factory=DecodeConfig)

    def unread(self) -> Dict[str, str]:
        """Keys that nothing reads under this configuration -> why."""
        found: Dict[str, str] = {}
        if self.decode.refinement is Refinement.none:
            found |= dict.fromkeys(("decode.refiner", "decode.agreement"), "model.decode.refinement=none")
        if self.decode.grouping is Grouping.body_first:
            found["decode.matching"] = "model.decode.grouping=body_first"
        if self.decode.association is Association.naive and self.loss_weights.mask == 0:
            reason = "model.loss_weights.mask=0 with model.decode.association=naive"
            found |= dict.fromkeys(("supervised_layer", "supervision"), reason)
        return found
