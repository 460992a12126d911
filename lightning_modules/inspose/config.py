"""InsPose's knobs and ablation switches. The defaults are the paper's final model; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Dict, List

from lightning_modules.shared.config import BackboneConfig


class Nms(Enum):
    """How detections that overlap a better one are treated (Section 3.4 names no variant)."""

    hard = "hard"
    soft = "soft"


@dataclass
class LossWeights:
    """Eq. 5, and the box loss of Table 4; all 1 in the paper."""

    cls: float = 1.0
    keypoint: float = 1.0
    disk_offset: float = 1.0
    heatmap: float = 1.0
    box: float = 1.0


@dataclass
class Config:
    # choice: torchvision's first ResNet weights, as the released configuration; timm's default ones are newer
    backbone: BackboneConfig = field(default_factory=lambda: BackboneConfig(name="resnet50.tv_in1k"))
    fpn_channels: int = 256
    """Of every pyramid level P3 to P7."""
    tower_channels: int = 256
    tower_depth: int = 4
    """3×3 convolutions of the classification tower and of the parameter tower, shared by all levels."""
    feature_channels: int = 128
    feature_depth: int = 4
    """3×3 convolutions of the keypoint feature branch before its last layer."""
    kpnet_channels: int = 8
    """Channels of the shared keypoint features and of the KP-Nets' hidden layers."""
    kpnet_depth: int = 3
    """1×1 convolutions of a KP-Net, 1 to 4 (Table 2)."""
    map_stride: int = 8
    """Stride of keypoint maps and disk offsets: 16, 8, 4 or 2, resampled from 8 (Table 3)."""
    disk_offset: bool = True
    """Predict the offset from a cell to the keypoint (Table 1); without it a keypoint lies at its cell's centre."""
    disk_channels: int = 256
    heatmap: bool = True
    """Auxiliary heatmap branch in training (Table 1); pruned at inference."""
    heatmap_channels: int = 256
    bbox_head: bool = False
    """Detect boxes too, assign by annotated boxes and suppress by detected ones (Table 4)."""

    center_radius: float = 1.5
    """A person's centre region reaches this many strides from the centre of the pseudo-box."""
    size_limits: List[float] = field(default_factory=lambda: [64.0, 128.0, 256.0, 512.0])
    """Input pixels: P3 to P6 each answer for locations whose farthest side of the box is no farther than this."""
    min_box_size: float = 16.0
    """Smaller sides of a pseudo-box, a single keypoint's among them, are widened to this; input pixels."""
    max_positives: int = 70
    """Locations per image whose KP-Nets are trained, shared out among its people."""
    ignore_regions: bool = True
    """Learn no background inside crowds and people without keypoints."""
    gaussian_overlap: float = 0.9
    """IoU that sets the radius of disks and heatmap Gaussians from a person's size."""
    max_radius: int = 3
    """Largest such radius, cells."""
    disk_keeps_cell: bool = True
    """Supervise the offset at a keypoint's own cell even where the disk is smaller than the cell."""

    score_threshold: float = 0.1
    max_candidates: int = 500
    """KP-Nets evaluated per image, best scores first."""
    nms: Nms = Nms.soft
    nms_threshold: float = 0.3
    min_score: float = 0.001
    """Detections whose score soft suppression lowers to this are dropped."""
    max_detections: int = 100
    chunk_cells: int = 2**26
    """Cells of keypoint maps held at a time when decoding; bounds memory, changes nothing else."""
    flip_test: bool = False
    scales: List[int] = field(default_factory=list)
    """Shorter sides of multi-scale testing, pixels; empty tests at ``data.size`` only."""

    focal_alpha: float = 0.25
    focal_gamma: float = 2.0
    loss_weights: LossWeights = field(default_factory=LossWeights)

    def unread(self) -> Dict[str, str]:
        """Keys that nothing reads under this configuration -> why."""
        found: Dict[str, str] = {}
        if not self.heatmap:
            found |= dict.fromkeys(("heatmap_channels", "loss_weights.heatmap"), "model.heatmap=false")
        if not self.disk_offset:
            of_disk = ("disk_channels", "disk_keeps_cell", "loss_weights.disk_offset")
            found |= dict.fromkeys(of_disk, "model.disk_offset=false")
        if not self.bbox_head:
            found["loss_weights.box"] = "model.bbox_head=false"
        if self.nms is Nms.hard:
            found["min_score"] = "model.nms=hard"
        return found

    def validate(self) -> None:
        """Raise ``ValueError`` with one line that names the key, its value and what is possible."""
        if self.kpnet_depth not in (1, 2, 3, 4):
            raise ValueError(f"model.kpnet_depth={self.kpnet_depth}: KP-Nets have 1 to 4 layers")
        if self.map_stride not in (2, 4, 8, 16):
            raise ValueError(f"model.map_stride={self.map_stride}: choose 2, 4, 8 or 16")
        if len(self.size_limits) != 4 or sorted(self.size_limits) != list(self.size_limits):
            raise ValueError(f"model.size_limits={self.size_limits}: give four rising sizes, for P3 to P6")
        for name in (
            "fpn_channels",
            "tower_channels",
            "feature_channels",
            "kpnet_channels",
            "disk_channels",
            "heatmap_channels",
            "max_positives",
            "max_candidates",
            "max_detections",
            "chunk_cells",
            "center_radius",
            "min_box_size",
        ):
            if getattr(self, name) <= 0:
                raise ValueError(f"model.{name}={getattr(self, name)}: must be above 0")
        for name in ("tower_depth", "feature_depth", "max_radius", "focal_gamma"):
            if getattr(self, name) < 0:
                raise ValueError(f"model.{name}={getattr(self, name)}: must not be negative")
        for name in ("score_threshold", "nms_threshold", "min_score", "gaussian_overlap", "focal_alpha"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"model.{name}={getattr(self, name)}: must lie between 0 and 1")
        if any(scale < 64 for scale in self.scales):
            raise ValueError(f"model.scales={self.scales}: shorter sides of at least 64 pixels")
