"""Attention with dropout on its weights, of which one byte a weight is kept: for a CPU, whose fused kernel has none.

PyTorch's own form keeps the weights, the mask and the masked weights, each L × L in fp32. Here a block of rows goes
from logits to mixed values within the cores' caches; the backward pass makes the weights anew from queries and keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from lightning_modules.shared.precision import full_precision

_LEVELS = 1 << 16
"""Of a draw that decides whether a weight is dropped."""
_WEIGHTS_IN_CACHE = 1 << 18
"""That a CPU's core has at a time, 1 MB in fp32."""


def attend(query: Tensor, key: Tensor, value: Tensor, dropout: float) -> Tensor:
    """``scaled_dot_product_attention`` [B, heads, L, d], with dropout on a CPU as ``dropped_attention``."""
    if query.device.type == "cpu" and 0 < dropout < 1 and not torch.compiler.is_compiling():
        return dropped_attention(query, key, value, dropout)
    return F.scaled_dot_product_attention(query, key, value, dropout_p=dropout)


def dropped_attention(query: Tensor, key: Tensor, value: Tensor, dropout: float) -> Tensor:
    """``dropout(softmax(QKᵀ / √d)) V``, as ``scaled_dot_product_attention`` has it, with another stream of masks.

    Products and softmax are in fp32 at least, also under autocast.

    Args:
        query, key, value: [B, heads, L, d], one dtype, on a CPU.
        dropout: share of the weights set to zero, in (0, 1), to the next 65,536th; the others are divided by what
            is left.

    Returns:
        [B, heads, L, d], as ``value``; differentiable once. Memory is laid out as [B, L, heads, d].
    """
    dropped = min(round(dropout * _LEVELS), _LEVELS - 1)
    count = query.shape[:3].numel() * key.shape[2]
    # Four weights share one draw: drawing is a fifth of the whole's time where each has its own.
    draws = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)[:count]
    kept = (draws >= dropped - _LEVELS // 2).view(*query.shape[:3], key.shape[2])
    return _DroppedAttention.apply(query, key, value, kept, _LEVELS / (_LEVELS - dropped))


class _DroppedAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, kept: Tensor, gain: float) -> Tensor:
        mixed = value.new_empty(value.shape[0], value.shape[2], value.shape[1], value.shape[3]).transpose(1, 2)
        with full_precision(query.device):
            for head, rows in _blocks(kept):
                weights = _weights(query[head], key[head], rows)
                weights *= kept[head][rows].to(weights.dtype)
                mixed[head][rows] = (weights @ _exact(value[head])).mul_(gain)
        ctx.save_for_backward(query, key, value, kept, mixed)
        ctx.gain = gain
        return mixed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, kept, mixed = ctx.saved_tensors
        by_query, by_key, by_value = (torch.zeros_like(_exact(each)) for each in (query, key, value))
        scale = query.shape[3] ** -0.5
        with full_precision(query.device):
            for head, rows in _blocks(kept):
                weights, wanted = _weights(query[head], key[head], rows), _exact(gradient[head][rows])
                is_kept = kept[head][rows].to(weights.dtype)
                mean = (wanted * mixed[head][rows]).sum(1, keepdim=True)
                wanted = wanted * ctx.gain
                by_logit = (wanted @ _exact(value[head]).T).mul_(is_kept).sub_(mean).mul_(weights)
                by_query[head][rows] = (by_logit @ _exact(key[head])).mul_(scale)
                by_key[head].addmm_(by_logit.T, _exact(query[head][rows]), alpha=scale)
                by_value[head].addmm_(weights.mul_(is_kept).T, wanted)
        return by_query.to(query.dtype), by_key.to(key.dtype), by_value.to(value.dtype), None, None


def _blocks(kept: Tensor) -> Iterator[tuple[tuple[int, int], slice]]:
    """Every head of every image, a few rows at a time."""
    batch, heads, length, width = kept.shape
    size = max(1, _WEIGHTS_IN_CACHE * torch.get_num_threads() // max(1, width))
    for head in product(range(batch), range(heads)):
        for first in range(0, length, size):
            yield head, slice(first, first + size)


def _weights(query: Tensor, key: Tensor, rows: slice) -> Tensor:
    """Rows of softmax(QKᵀ / √d) of one head's [L, d]."""
    return (_exact(query[rows]) * query.shape[1] ** -0.5 @ _exact(key).T).softmax(dim=1)


def _exact(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))
