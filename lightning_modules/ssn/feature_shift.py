"""The feature shifting module (Section 3.1) with correlation attention (Section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_modules.ssn.config import CorrelationAttention, FeatureShiftConfig
from lightning_modules.ssn.folded_shift import FoldedShift
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


class SoftplusShares(nn.Module):
    """Eq. 6 with σ = Softplus: logits [..., H, W] -> F; each map of F sums to one, or to its area."""

    def __init__(self, *, sum_to_area: bool) -> None:
        super().__init__()
        self.sum_to_area = sum_to_area

    def forward(self, logits: Tensor) -> Tensor:
        correlation = F.softplus(logits.to(torch.promote_types(logits.dtype, torch.float32)))
        total = correlation.sum((-2, -1), keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
        area = logits.shape[-2] * logits.shape[-1] if self.sum_to_area else 1
        return (correlation * (area / total)).to(logits.dtype)


class Attention(nn.Module):
    """Correlation attention: F [B, K, H, W] of P [B, C, H, W].

    Args:
        channels: C.
        shift_channels: K.
        kind: what makes F of the projected maps; the sigmoid is that of the supplement's 3Block + 3FSM.
    """

    def __init__(self, channels: int, shift_channels: int, kind: CorrelationAttention) -> None:
        super().__init__()
        self.project = nn.Conv2d(channels, shift_channels, 1)
        is_sigmoid = kind is CorrelationAttention.sigmoid
        self.share = nn.Sigmoid() if is_sigmoid else SoftplusShares(sum_to_area=kind is CorrelationAttention.scaled)

    def forward(self, maps: Tensor) -> Tensor:
        shares: Tensor = self.share(self.project(maps))
        return shares


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
        kind = config.correlation_attention
        self.attention = None if kind is CorrelationAttention.none else Attention(channels, shift_channels, kind)
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
