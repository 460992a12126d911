"""Every knob and ablation switch of the paper; the defaults are its final choice. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from lightning_modules.shared.config import BackboneConfig


class Architecture(Enum):
    ssn = "ssn"
    """ResNet with a U-shape (Fig. 2)."""
    three_block = "three_block"
    """3Block + 3FSM (supplement, Section 3). It has one predictor, P4, and no backbone to configure."""


class CorrelationAttention(Enum):
    """F of Eq. 4: what gates the shifted maps."""

    none = "none"
    """F = 1: Table 1, "w/o CA"."""
    normalized = "normalized"
    """Eq. 6: Softplus, divided by its sum over the map."""
    scaled = "scaled"
    """Eq. 6 times the map's area: F starts near 1, not near 1/area. The function class is the same, since w^β may
    absorb the factor; Adam's steps are not, and the factor decides whether the modules learn."""
    sigmoid = "sigmoid"
    """3Block + 3FSM: no spatial normalisation."""


class EarlyPredictor(Enum):
    """Early stage predictors E1 to E3, on the outputs of ResNet's first three stages."""

    none = "none"
    bottleneck = "bottleneck"
    """1×1 to 128, 3×3, 3×3 to K: fits every row of Table 1."""
    wide = "wide"
    """1×1 to 256, 1×1, 3×3 to K."""


class Predictor(Enum):
    """Whose heatmaps are decoded (Table 2). E1 to E3 sit on stages 1 to 3, P1 to P4 on the U-shape, coarse to fine."""

    E1 = "E1"
    E2 = "E2"
    E3 = "E3"
    P1 = "P1"
    P2 = "P2"
    P3 = "P3"
    P4 = "P4"


class SubPixel(Enum):
    """Where a keypoint lies around the highest heatmap cell."""

    argmax = "argmax"
    quarter = "quarter"
    """A quarter of a cell towards the higher neighbour, per axis."""
    dark = "dark"
    """A Newton step on the logarithm of the smoothed heatmap (Zhang et al., CVPR 2020)."""


@dataclass
class FeatureShiftConfig:
    enabled: bool = True
    """False is the backbone of Tables 1 and 2; for 3Block, the same without FSMs."""
    channels: int = 512
    """K."""
    first_channels: int = 256
    """K of the first FSM, whose input has 64 channels. Not read by 3Block + 3FSM, where all have ``channels``."""
    shifting: bool = True
    # choice: with Eq. 6 to the letter, gradients are so small that Adam's ε of 1e-8 swallows them (docs/proofs.md)
    correlation_attention: CorrelationAttention = CorrelationAttention.scaled
    offset_start: float = 1.0
    """Offsets begin uniform in ± this, pixels of the map they move."""
    insert_step: int = 6000
    """Optimizer steps after which ``callbacks.delayed_fsm_insertion`` inserts the modules; 0 starts with them. As the
    schedule's they are steps of ``optimizer.reference_batch`` samples: of more, there are fewer."""
    offset_lr: float = 1e-3
    """Of the offsets, whatever the main schedule does; at ``optimizer.reference_batch`` samples a step, as its rate."""
    offset_lr_decay: float = 0.9
    """Its factor per epoch."""


@dataclass
class DecodeConfig:
    predictor: Predictor = Predictor.P4
    sub_pixel: SubPixel = SubPixel.quarter
    flip_test: bool = True
    """Average with the heatmaps of the mirror image."""
    rescore_threshold: float = 0.2
    """A person scores box score × mean of the keypoint scores above this; 1 keeps the box score."""
    oks_nms: float = 0.9
    """Of two people of an image with a higher OKS the lower-scored one goes; 1 keeps all."""


@dataclass
class LossWeights:
    heatmap: float = 1.0


@dataclass
class Config:
    architecture: Architecture = Architecture.ssn
    backbone: BackboneConfig = field(
        default_factory=lambda: BackboneConfig(name="resnet50_gn.a1h_in1k", frozen_stages=0)
    )
    width: int = 256
    """Of the U-shape."""
    feature_shift: FeatureShiftConfig = field(default_factory=FeatureShiftConfig)
    early_predictors: EarlyPredictor = EarlyPredictor.bottleneck
    sigma: float = 2.0
    """Of a keypoint's Gaussian, heatmap cells of 4 pixels; 3 at 384×288."""
    loss_weights: LossWeights = field(default_factory=LossWeights)
    decode: DecodeConfig = field(default_factory=DecodeConfig)
