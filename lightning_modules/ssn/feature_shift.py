"""The feature shifting module (Section 3.1) with correlation attention (Section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_modules.ssn.config import CorrelationAttention, FeatureShiftConfig
from lightning_modules.ssn.translation import translate


class Shift(nn.Module):
    """K learned offsets (Δx, Δy), in pixels of the map they move.

    The paper leaves their start open. # choice: uniform in ±``start``, so that no two window positions coincide.
    """

    def __init__(self, channels: int, start: float) -> None:
        super().__init__()
        self.offsets = nn.Parameter(torch.empty(channels, 2).uniform_(-start, start))

    def forward(self, maps: Tensor) -> Tensor:
        return translate(maps, self.offsets)


class NormalizedAttention(nn.Module):
    """Eq. 6 with σ = Softplus: F [B, K, H, W] of P [B, C, H, W]; each map of F sums to one, or to its area."""

    def __init__(self, channels: int, shift_channels: int, *, sum_to_area: bool) -> None:
        super().__init__()
        self.project = nn.Conv2d(channels, shift_channels, 1)
        self.sum_to_area = sum_to_area

    def forward(self, maps: Tensor) -> Tensor:
        logits = self.project(maps)
        correlation = F.softplus(logits.float())
        total = correlation.sum((2, 3), keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
        area = maps.shape[2] * maps.shape[3] if self.sum_to_area else 1
        return (correlation * (area / total)).to(logits.dtype)


class SigmoidAttention(nn.Module):
    """The supplement's attention of 3Block + 3FSM: F in (0, 1), not normalised."""

    def __init__(self, channels: int, shift_channels: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(channels, shift_channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        return self.project(maps).sigmoid()


def make_attention(kind: CorrelationAttention, channels: int, shift_channels: int) -> nn.Module | None:
    if kind is CorrelationAttention.none:
        return None
    if kind is CorrelationAttention.sigmoid:
        return SigmoidAttention(channels, shift_channels)
    return NormalizedAttention(channels, shift_channels, sum_to_area=kind is CorrelationAttention.scaled)


class FeatureShiftModule(nn.Module):
    """Q = ReLU(BN(P + w^β(F ⊙ S))), S the shifted w^α P (Eq. 4).

    Until it is inserted it hands P through, and its batch normalisation watches P, so that ``insert`` can make the
    normalisation the identity. Its parameters have a gradient (zero) from the first step: nothing has to be
    re-wrapped, and no process of a distributed run waits for another.

    Args:
        channels: C of P and Q.
        shift_channels: K.
        config: the paper's switches.
    """

    inserted: Tensor
    """bool scalar buffer: part of a checkpoint."""

    def __init__(self, channels: int, shift_channels: int, config: FeatureShiftConfig) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, shift_channels, 1)  # w^α
        self.shift = Shift(shift_channels, config.offset_start) if config.shifting else nn.Identity()
        self.attention = make_attention(config.correlation_attention, channels, shift_channels)
        self.expand = nn.Conv2d(shift_channels, channels, 1)  # w^β
        self.norm = nn.BatchNorm2d(channels)
        # choice: w^β starts at zero. Whatever the attention, insertion then changes no output.
        nn.init.zeros_(self.expand.weight)
        nn.init.zeros_(self.expand.bias)  # type: ignore[arg-type]  # None only where bias=False
        self.is_inserted = config.insert_step == 0
        self.register_buffer("inserted", torch.tensor(self.is_inserted))
        self.register_load_state_dict_post_hook(_read_flag)

    def forward(self, maps: Tensor) -> Tensor:
        """P [B, C, H, W] -> Q of the same shape."""
        if not self.is_inserted:
            return self._watch(maps) if self.training else maps
        return F.relu(self.norm(maps + self.non_local_maps(maps)))

    def non_local_maps(self, maps: Tensor) -> Tensor:
        """w^β(F ⊙ S) of P [B, C, H, W], the term that Eq. 4 adds to P; same shape."""
        shifted = self.shift(self.reduce(maps))  # Eq. 1, 2
        if self.attention is not None:
            shifted = shifted * self.attention(maps)  # Eq. 6
        return self.expand(shifted)

    @torch.no_grad()
    def insert(self) -> None:
        """Take part from now on, starting as the identity on inputs that are distributed as those seen so far.

        P is not negative, so ReLU(BN(P)) = P where BN has the scale and shift of P's own statistics.
        Without a step of training before, the normalisation keeps its start. Calling it again changes nothing.
        """
        if self.is_inserted:
            return
        _forget_start(self.norm)
        assert self.norm.running_var is not None
        assert self.norm.running_mean is not None
        self.norm.weight.copy_((self.norm.running_var + self.norm.eps).sqrt())
        self.norm.bias.copy_(self.norm.running_mean)
        self.inserted.fill_(True)
        self.is_inserted = True

    def folded(self) -> nn.Module:
        """What it computes in eval mode, in a form to be asked in; see ``FoldedShift``. It stays as it is."""
        return FoldedShift(self) if self.is_inserted else self

    def _watch(self, maps: Tensor) -> Tensor:
        with torch.no_grad():
            self.norm(maps)
        if not torch.is_grad_enabled():
            return maps
        idle = torch.stack([parameter.sum() for parameter in self.parameters()]).sum() * 0.0
        return maps + idle.to(maps.dtype)


class FoldedShift(nn.Module):
    """An inserted module in eval mode, in fewer passes over memory: Q = ReLU(aP + b + (a w^β)(F ⊙ S)), channels first.

    a and b, of each channel, are what the normalisation amounts to; w^β's bias is in b.
    """

    scale: Tensor
    bias: Tensor
    weight: Tensor

    @torch.no_grad()
    def __init__(self, module: FeatureShiftModule) -> None:
        super().__init__()
        norm, expand = module.norm, module.expand
        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert expand.bias is not None
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        bias = norm.bias + (expand.bias - norm.running_mean) * scale
        self.reduce, self.shift, self.attention = module.reduce, module.shift, module.attention
        self.register_buffer("scale", scale[:, None, None])
        self.register_buffer("bias", bias[:, None, None])
        self.register_buffer("weight", expand.weight.flatten(1) * scale[:, None])

    def forward(self, maps: Tensor) -> Tensor:
        """P [B, C, H, W] -> Q of the same shape."""
        shifted = self.shift(self.reduce(maps))
        if self.attention is not None:
            shifted.mul_(self.attention(maps))
        total = torch.addcmul(self.bias, maps, self.scale).contiguous()
        weight = self.weight.to(total.dtype).expand(len(maps), -1, -1)
        total.flatten(2).baddbmm_(weight, shifted.flatten(2).to(total.dtype))  # a view: written in place
        return total.relu_()


def _forget_start(norm: nn.BatchNorm2d) -> None:
    """Rid running statistics of the mean 0 and variance 1 they began with, after few batches still a large part."""
    assert norm.running_var is not None
    assert norm.running_mean is not None
    assert norm.num_batches_tracked is not None
    assert norm.momentum is not None
    kept = (1 - norm.momentum) ** norm.num_batches_tracked.float()
    seen = torch.where(kept < 1, 1 - kept, 1.0)
    norm.running_mean.div_(seen)
    norm.running_var.copy_(torch.where(kept < 1, (norm.running_var - kept) / seen, norm.running_var))


def _read_flag(module: FeatureShiftModule, _: object) -> None:
    module.is_inserted = bool(module.inserted)
