"""Every knob and switch of Graph-PCNN; the defaults are the paper's 256×192 ResNet-50 row. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import List, Optional

from lightning_modules.shared.config import BackboneConfig


class Refinement(Enum):
    """How a guided point hears of its neighbours (§3.2; the rows of Table 2)."""

    none = "none"
    """No second stage: the plain SimpleBaseline ("SBN") or HRNet."""
    struct_agnostic = "struct_agnostic"
    """Every keypoint on its own: only the transforms T_kk."""
    gpr_va = "gpr_va"
    """ω = 1 for every neighbour, reliable or not."""
    gpr_vb = "gpr_vb"
    """ω = 1(R): reliability without the heat response."""
    gpr = "gpr"
    """ω = h·1(R), Eq. 7."""


class Decoding(Enum):
    """How the peak of a heatmap becomes a coordinate: stage-1 result and guided point of the test."""

    quarter = "quarter"
    """Peak cell plus a quarter pixel towards the higher neighbour."""
    dark = "dark"
    """DARK's Taylor expansion of the blurred log-heatmap: the comparison row of Table 3."""


class GaussianCenter(Enum):
    """Where the target Gaussian of a joint stands."""

    rounded = "rounded"
    """On the nearest heatmap cell, as in SimpleBaseline and HRNet."""
    exact = "exact"
    """At the joint itself, as in DARK's training."""


class OffsetUnit(Enum):
    """Unit of the regressed offset, hence of the regression loss."""

    pixel = "pixel"
    """Heatmap pixels, as Eq. 9 is written."""
    radius = "radius"
    """The positive radius 3σ: the loss is smaller by that factor, λ means the same at every input size."""


@dataclass
class LossWeights:
    heatmap: float = 1.0
    classification: float = 1.0
    regression: float = 16.0
    """λ of Eq. 10."""


@dataclass
class Config:
    backbone: BackboneConfig = field(default_factory=lambda: BackboneConfig(name="resnet50.tv_in1k", frozen_stages=0))
    """A timm ResNet (or EfficientNet, for demos) becomes SimpleBaseline, a timm HRNet stays HRNet."""
    deconv_channels: List[int] = field(default_factory=lambda: [256, 256, 256])
    """Output channels of SimpleBaseline's deconvolutions; HRNet has none."""

    sigma: float = 2.0
    """Standard deviation of the heatmap target, heatmap pixels: 1, 2, 3 at 128×96, 256×192, 384×288."""
    gaussian_center: GaussianCenter = GaussianCenter.rounded

    refinement: Refinement = Refinement.gpr
    refinement_channels: int = 256
    """Width of g_k and of the fully connected layers behind it."""
    head_layers: int = 2
    """Fully connected layers with batch norm between g_k and the two predictions."""
    num_points: int = 192
    """N, guided points per keypoint in training: 48, 192, 432 at 128×96, 256×192, 384×288."""
    proportion: List[int] = field(default_factory=lambda: [1, 1, 1])
    """Shares of the near (a), far (b) and high-response (c) guided points; ``[1, 2, 0]`` is a point of Fig. 5a."""
    shuffle: bool = True
    """Shuffle the guided points of each keypoint before they meet in graphs; false is GPR-vc of Table 2."""
    positive_radius: float = 3.0
    """A guided point nearer than this many σ is positive (Eq. 6)."""
    reliable_radius: float = 2.0
    """δ of Eq. 12 in σ: training."""
    reliable_heat: float = 0.85
    """ξ of Eq. 12: testing."""
    offset_unit: OffsetUnit = OffsetUnit.pixel

    flip_test: bool = True
    decoding: Decoding = Decoding.quarter
    dark_kernel: Optional[int] = None
    """Cells of DARK's blur, odd; null is DARK's own, 3 up to σ = 1, else 11."""
    keypoint_score_threshold: float = 0.2
    """A person's score averages the keypoints above this score."""
    oks_nms_threshold: float = 0.9
    """Of two people of an image with a higher OKS the lower-scored one goes; 1 keeps all."""
    loss_weights: LossWeights = field(default_factory=LossWeights)
