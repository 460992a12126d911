"""Every knob and ablation switch of the paper; the defaults are its final choice. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Dict, List, Optional


class Vgg(Enum):
    """The text says VGG-16; only VGG-19 gives the published parameter count."""

    vgg16 = "vgg16"
    vgg19 = "vgg19"


class SelfSupervision(Enum):
    """Which prediction generates the other one (Table I)."""

    none = "none"
    paf_to_heatmap = "paf_to_heatmap"
    heatmap_to_paf = "heatmap_to_paf"
    both = "both"


class KlForm(Enum):
    generalised = "generalised"
    """Sum of p log(p/q) - p + q with p detached: zero at p = q and never negative."""
    literal = "literal"
    """Eq. 13 to the letter, gradient into both maps: negative and minimal at q = e p."""


class PddSchedule(Enum):
    """β per stage (Table II)."""

    uniform = "uniform"
    linear = "linear"
    quadratic_a = "quadratic_a"
    quadratic_b = "quadratic_b"


class PafOverlap(Enum):
    """What a cell says where the same limb of two people crosses it."""

    overwrite = "overwrite"
    average = "average"


@dataclass
class NetworkConfig:
    """The CMU network. Everything below the paper's figures is for small runs."""

    backbone: Vgg = Vgg.vgg19
    weights: Optional[str] = "imagenet"
    """``imagenet`` (timm's pretrained weights), null (random), or a file with a state dict of torchvision's VGG."""
    backbone_width: float = 1.0
    """Factor on VGG's channels; pretrained weights need 1."""
    feature_channels: int = 128
    """Channels of the features every stage reads; the convolution before has twice as many."""
    stage_width: int = 128
    """Channels inside a stage; the first stage's 1×1 convolution has four times as many."""
    stage_kernel: int = 7
    """Kernel of the stages after the first."""
    stages: int = 6
    downsampling: int = 8
    """f_d, 8, 16 or 32 (Table III)."""
    initial_std: Optional[float] = 0.01
    """Standard deviation of new convolutions; null draws them by Kaiming's rule, which small networks need."""


@dataclass
class DecodeConfig:
    scales: List[float] = field(default_factory=lambda: [0.5, 1.0, 1.5, 2.0])
    """Test sizes as multiples of ``base_size``; one alone with block offsets is decoded on the network's grid."""
    base_size: Optional[int] = 368
    """Height of the photograph at scale 1, pixels; null takes the input as the datamodule gives it."""
    peak_threshold: float = 0.1
    max_candidates: int = 64
    """Peaks kept per part and image."""
    max_persons: int = 40
    paf_samples: int = 10
    paf_threshold: float = 0.05
    """A sample agrees when its field's component along the limb exceeds this."""
    paf_agreement: float = 0.8
    """More than this fraction of a limb's samples must agree."""
    min_parts: int = 3
    min_mean_score: float = 0.2
    """Sum of part and limb scores per part."""


@dataclass
class Config:
    network: NetworkConfig = field(default_factory=NetworkConfig)
    decode: DecodeConfig = field(default_factory=DecodeConfig)

    block_offsets: bool = True
    """Resolution-irrelevant encoding: two more channels per part, in every stage, fed on to the next."""
    offset_gate: float = 0.4
    """Offsets are learnt where the target heatmap exceeds this; the same threshold says where a part is active."""
    self_supervision: SelfSupervision = SelfSupervision.paf_to_heatmap
    converter_width: int = 128
    """Channels inside a converter."""
    kl_form: KlForm = KlForm.generalised
    gamma: float = 9.0
    """γ of Eq. 14, the weight of a predicted map beside the one generated in its likeness."""
    delta: Optional[float] = None
    """δ of Eq. 14, the weight of the other map; null is γ + 1, the paper's choice."""
    offset_weight: Optional[float] = None
    """Weight of the offsets' error; null is δ."""
    divide_by_delta: bool = True
    """Divide the total by γ + 1, so that the baseline's learning rate stays usable."""
    salm_alpha: float = 10.0
    """α of Eq. 15; 0 is off."""
    salm_min_sigma: float = 0.5
    """Smallest width of the attention Gaussian, cells."""
    pdd_schedule: PddSchedule = PddSchedule.quadratic_b

    rates_by_layer: bool = True
    """Later stages learn four times as fast, biases twice as fast and undecayed, as in the CMU pipeline."""
    sigma: float = 7.0
    """Of a part's Gaussian: pixels at f_d = 8, in proportion to f_d otherwise."""
    paf_half_width: float = 8.0
    """Of a limb: pixels at f_d = 8, in proportion to f_d otherwise."""
    paf_overlap: PafOverlap = PafOverlap.overwrite

    @property
    def loss_weights(self) -> Dict[str, float]:
        """Weight of each term of the criterion.

        With a converter, the γ + 1 of the map it generates is parted into γ for the predicted and 1 for the
        generated one (Eq. 14). Without one, the predicted map has the whole γ + 1: the division by γ + 1 then leaves
        exactly the baseline's loss.
        """
        delta = self.gamma + 1 if self.delta is None else self.delta
        divisor = self.gamma + 1 if self.divide_by_delta else 1.0
        to_heatmap = self.self_supervision in (SelfSupervision.paf_to_heatmap, SelfSupervision.both)
        to_paf = self.self_supervision in (SelfSupervision.heatmap_to_paf, SelfSupervision.both)
        weights = {
            "heatmap": self.gamma if to_heatmap else delta,
            "paf": self.gamma if to_paf else delta,
        }
        if self.block_offsets:
            weights["offset"] = delta if self.offset_weight is None else self.offset_weight
        if to_heatmap:
            weights |= {"generated_heatmap": 1.0, "heatmap_kl": 1.0}
        if to_paf:
            weights |= {"generated_paf": 1.0, "paf_kl": 1.0}
        return {name: weight / divisor for name, weight in weights.items()}

    def unread(self) -> Dict[str, str]:
        """Keys that nothing reads under this configuration -> why."""
        found: Dict[str, str] = {}
        if self.self_supervision is SelfSupervision.none:
            found |= dict.fromkeys(("converter_width", "kl_form"), "model.self_supervision=none")
            if self.divide_by_delta and self.delta is None and self.offset_weight is None:
                found["gamma"] = "model.self_supervision=none and a total divided by γ + 1"
        if not self.block_offsets:
            found["offset_weight"] = "model.block_offsets=false"
        if self.salm_alpha == 0:
            found["salm_min_sigma"] = "model.salm_alpha=0"
        if self.network.stages == 1 or (self.network.stages == 2 and self.pdd_schedule is not PddSchedule.uniform):
            same = "all schedules are" if self.network.stages == 1 else "linear, quadratic_a and quadratic_b are"
            found["pdd_schedule"] = f"model.network.stages={self.network.stages} ({same} equal)"
        return found

    @property
    def _teaches_nothing_at_gamma_0(self) -> bool:
        one_way = (SelfSupervision.paf_to_heatmap, SelfSupervision.heatmap_to_paf)
        return self.self_supervision in one_way and self.kl_form is KlForm.generalised

    def validate(self) -> None:
        """Raise ``ValueError`` with one line that names the key, its value and what is possible."""
        network, decode = self.network, self.decode
        rules = (
            ("network.stages", network.stages, network.stages >= 1, "at least one stage"),
            ("network.downsampling", network.downsampling, network.downsampling in (8, 16, 32), "8, 16 or 32"),
            ("network.backbone_width", network.backbone_width, network.backbone_width > 0, "above 0"),
            (
                "network.stage_kernel",
                network.stage_kernel,
                network.stage_kernel % 2 == 1 and network.stage_kernel > 0,
                "an odd number",
            ),
            (
                "network.weights",
                network.weights,
                network.weights is None or network.backbone_width == 1,
                "null where network.backbone_width is not 1: no pretrained weights fit",
            ),
            ("gamma", self.gamma, self.gamma >= 0, "not negative"),
            (
                "gamma",
                self.gamma,
                self.gamma > 0 or not self._teaches_nothing_at_gamma_0,
                "above 0: the divergence takes the predicted map as given, so no other error would reach it",
            ),
            ("salm_alpha", self.salm_alpha, self.salm_alpha >= 0, "not negative"),
            ("salm_min_sigma", self.salm_min_sigma, self.salm_min_sigma > 0, "above 0"),
            ("sigma", self.sigma, self.sigma > 0, "above 0"),
            ("paf_half_width", self.paf_half_width, self.paf_half_width > 0, "above 0"),
            ("offset_gate", self.offset_gate, 0 < self.offset_gate < 1, "between 0 and 1"),
            ("decode.scales", decode.scales, bool(decode.scales) and min(decode.scales) > 0, "positive numbers"),
            ("decode.paf_samples", decode.paf_samples, decode.paf_samples >= 2, "at least 2"),
            ("decode.max_candidates", decode.max_candidates, decode.max_candidates >= 1, "at least 1"),
            ("decode.max_persons", decode.max_persons, decode.max_persons >= 1, "at least 1"),
        )
        for key, value, holds, possible in rules:
            if not holds:
                raise ValueError(f"model.{key}={value}: must be {possible}")
