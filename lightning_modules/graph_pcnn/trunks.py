"""SimpleBaseline and HRNet, each split where Graph-PCNN copies: the shared trunk and the last stage (§3.4, §4.2).

Frame of every map here: cell ``u`` of a stride-4 map stands for input coordinate ``4 u``.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn.init import normal_, zeros_

from lightning_modules.shared.backbones import Backbone
from lightning_modules.shared.config import BackboneConfig

STRIDE = 4
"""Input pixels per heatmap pixel."""


class Trunk(NamedTuple):
    shared: nn.Module
    """images f32 [B, 3, H, W] -> what both stages see (V of Eq. 1)."""
    last_stage: nn.Module
    """V -> feature map f32 [B, channels, H / 4, W / 4]; does not change V."""
    channels: int


def _resnet_body(resnet: nn.Module) -> nn.Module:
    """Stem to layer 3 of a timm ResNet: images f32 [B, 3, H, W] -> f32 [B, C, H / 16, W / 16]."""
    layers = nn.Sequential()
    for name in ("conv1", "bn1", "act1", "maxpool", "layer1", "layer2", "layer3"):
        layers.add_module(name, resnet.get_submodule(name))
    return layers


def _efficientnet_halves(efficientnet: nn.Module) -> tuple[nn.Module, nn.Module]:
    """A timm EfficientNet up to stride 16, and its blocks behind."""
    blocks = list(efficientnet.get_submodule("blocks").children())
    first = 5  # stages 0 to 4 end at stride 16 in every EfficientNet
    stem = [efficientnet.get_submodule(name) for name in ("conv_stem", "bn1")]
    return nn.Sequential(*stem, *blocks[:first]), nn.Sequential(*blocks[first:])


class DeconvolutionStage(nn.Module):
    """The stage at stride 32 (a ResNet's layer 4) and SimpleBaseline's three deconvolutions.

    f32 [B, C, H / 16, W / 16] -> f32 [B, C', H / 4, W / 4].
    """

    def __init__(self, stage: nn.Module, in_channels: int, channels: list[int]) -> None:
        super().__init__()
        self.stage = stage
        self.deconvolutions = nn.Sequential()
        for out_channels in channels:
            deconvolution = nn.ConvTranspose2d(in_channels, out_channels, 4, stride=2, padding=1, bias=False)
            normal_(deconvolution.weight, std=0.001)
            self.deconvolutions.extend([deconvolution, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)])
            in_channels = out_channels

    def forward(self, features: Tensor) -> Tensor:
        return self.deconvolutions(self.stage(features))


class HRNetBody(nn.Module):
    """Stem to transition 3 of a timm HRNet: images -> four maps f32 [B, C·2^i, H / 2^(i+2), W / 2^(i+2)]."""

    def __init__(self, hrnet: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Sequential()
        for name in ("conv1", "bn1", "act1", "conv2", "bn2", "act2", "layer1"):
            self.stem.add_module(name, hrnet.get_submodule(name))
        self.transition1 = _layers(hrnet, "transition1")
        self.stage2 = hrnet.get_submodule("stage2")
        self.transition2 = _layers(hrnet, "transition2")
        self.stage3 = hrnet.get_submodule("stage3")
        self.transition3 = _layers(hrnet, "transition3")

    def forward(self, images: Tensor) -> list[Tensor]:
        features = self.stem(images)
        branches = self.stage2([layer(features) for layer in self.transition1])
        branches = self.stage3(_with_new_branch(self.transition2, branches))
        return _with_new_branch(self.transition3, branches)


def _with_new_branch(transition: nn.ModuleList, branches: list[Tensor]) -> list[Tensor]:
    """A transition keeps the branches it finds and grows a new one out of the last."""
    return [
        branches[i] if isinstance(layer, nn.Identity) else layer(branches[-1]) for i, layer in enumerate(transition)
    ]


def _layers(module: nn.Module, name: str) -> nn.ModuleList:
    return nn.ModuleList(module.get_submodule(name).children())


class HighResolutionStage(nn.Module):
    """Stage 4 of an HRNet: four maps -> the finest alone, f32 [B, C, H / 4, W / 4].

    The last module fuses into the finest branch only, as in the pose models of the HRNet paper.
    """

    def __init__(self, hrnet: nn.Module) -> None:
        super().__init__()
        self.stage4 = hrnet.get_submodule("stage4")
        last = list(self.stage4.children())[-1]
        last.fuse_layers = _layers(last, "fuse_layers")[:1]

    def forward(self, branches: list[Tensor]) -> Tensor:
        return self.stage4(list(branches))[0]  # a copy of the list: timm's modules write into the one they are given


def build_trunk(config: BackboneConfig, deconv_channels: list[int]) -> Trunk:
    """Build SimpleBaseline on a timm ResNet or EfficientNet, or an HRNet, with the weights ``config`` asks for.

    Raises:
        ValueError: the backbone is none of these, or its weights are not there; something is to be frozen; or the
            deconvolutions do not lead from stride 32 to stride 4.
    """
    if config.frozen_stages or config.freeze_batch_norm:
        raise ValueError(
            "model.backbone.frozen_stages and freeze_batch_norm: SimpleBaseline and HRNet train their whole trunk; "
            "set 0 and false"
        )
    if config.name.startswith("hrnet"):
        backbone = Backbone(config, out_strides=(4,))
        return Trunk(HRNetBody(backbone.body), HighResolutionStage(backbone.body), backbone.channels[0])
    is_resnet = config.name.startswith("resnet")
    if not is_resnet and "efficientnet" not in config.name:
        raise ValueError(f"model.backbone.name={config.name}: Graph-PCNN takes a timm resnet*, efficientnet* or hrnet*")
    if len(deconv_channels) != 3:
        raise ValueError(f"model.deconv_channels={deconv_channels}: three deconvolutions lead from stride 32 to 4")
    backbone = Backbone(config, out_strides=(32,))
    if is_resnet:
        shared, last = _resnet_body(backbone.body), backbone.body.get_submodule("layer4")
    else:
        shared, last = _efficientnet_halves(backbone.body)
    return Trunk(shared, DeconvolutionStage(last, backbone.channels[0], list(deconv_channels)), deconv_channels[-1])


def heatmap_layer(channels: int, num_keypoints: int) -> nn.Conv2d:
    """φ_h of Eq. 2: a 1×1 convolution, initialised as in both bases (std 0.001, bias 0)."""
    layer = nn.Conv2d(channels, num_keypoints, 1)
    normal_(layer.weight, std=0.001)
    zeros_(layer.get_parameter("bias"))
    return layer
