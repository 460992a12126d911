"""Post-norm Transformer encoder with fused attention, and attention rows for the few cells that are asked for."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_modules.ssa.dropped_attention import attend


class QueryKey(NamedTuple):
    """What determines a layer's attention matrix A = softmax(QKᵀ/√d)."""

    query: Tensor
    """[B, heads, L, d / heads]."""
    key: Tensor
    """[B, heads, L, d / heads]."""


def attention_rows(layers: tuple[QueryKey, ...], cells: Tensor) -> Tensor:
    """Rows of the attention matrix, averaged over heads and over ``layers`` (paper, Section 2.3, footnote 1).

    Softmax is in fp32 under any autocast, and before dropout. Gradients reach queries and keys.

    Args:
        layers: one layer, or all of them for the naive association.
        cells: i64 [B, R], indices of the attending cells, row-major in the token grid.

    Returns:
        f32 [B, R, L]; each row sums to 1.
    """
    query, _ = layers[0]
    with torch.autocast(query.device.type, enabled=False):
        rows = [_rows_of_layer(layer, cells) for layer in layers]
        return torch.stack(rows).mean(0) if len(rows) > 1 else rows[0]


def _rows_of_layer(layer: QueryKey, cells: Tensor) -> Tensor:
    heads, width = layer.query.shape[1], layer.query.shape[3]
    index = cells[:, None, :, None].expand(-1, heads, -1, width)
    asked = layer.query.gather(2, index).float()
    logits = asked @ layer.key.float().transpose(2, 3) / math.sqrt(width)
    return logits.softmax(dim=3).mean(dim=1)


def position_embedding(height: int, width: int, channels: int, *, device: torch.device | None = None) -> Tensor:
    """Fixed two-dimensional sine embedding: half the channels code y, the other half x.

    Within a half, channels ``2i`` and ``2i + 1`` are sine and cosine of ``2π n / (last + 1e-6) / 10000^(2i / half)``
    with n counted from 1. (The paper is silent; this is TransPose's.)

    Returns:
        f32 [1, height × width, channels].

    Raises:
        ValueError: ``channels`` is no multiple of 4.
    """
    if channels % 4:
        raise ValueError(f"position embedding: width {channels} is no multiple of 4")
    y = _sine(height, channels // 2, device)[:, None].expand(-1, width, -1)
    x = _sine(width, channels // 2, device)[None].expand(height, -1, -1)
    return torch.cat([y, x], dim=2).reshape(1, height * width, channels)


def _sine(length: int, channels: int, device: torch.device | None) -> Tensor:
    place = torch.arange(1, length + 1, dtype=torch.float32, device=device) / (length + 1e-6) * (2 * math.pi)
    exponent = 2 * torch.arange(channels // 2, dtype=torch.float32, device=device) / channels
    angle = place[:, None] / 10000**exponent
    return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)


class SelfAttention(nn.Module):
    """Multi-head attention with the position added to queries and keys; parameters named as ``nn.MultiheadAttention``.

    Args:
        width: d of the tokens.
        heads: divides ``width``.
        dropout: on the attention weights, in training.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"attention: width {width} is not divisible by heads {heads}")
        self.heads = heads
        self.dropout = dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.xavier_uniform_(self.out_proj.weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, tokens: Tensor, position: Tensor) -> tuple[Tensor, QueryKey]:
        """[B, L, d] and its position [1, L, d] -> [B, L, d] and the layer's queries and keys."""
        width = tokens.shape[2]
        weight, bias = self.in_proj_weight, self.in_proj_bias
        projected = F.linear(tokens + position, weight[: 2 * width], bias[: 2 * width])
        query, key = (_split_heads(part, self.heads) for part in projected.chunk(2, dim=2))
        value = _split_heads(F.linear(tokens, weight[2 * width :], bias[2 * width :]), self.heads)
        mixed = attend(query, key, value, self.dropout if self.training else 0.0)
        return self.out_proj(mixed.transpose(1, 2).flatten(2)), QueryKey(query, key)


def _split_heads(tokens: Tensor, heads: int) -> Tensor:
    return tokens.unflatten(2, (heads, -1)).transpose(1, 2)


class IndependentAttention(nn.Module):
    """Queries and keys that serve the mask supervision alone (Appendix A.4).

    choice: the text inserts a whole layer, but nothing reads its values; only what makes A is kept.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.projection = nn.Linear(width, 2 * width)
        nn.init.xavier_uniform_(self.projection.weight)
        nn.init.zeros_(self.projection.bias)

    def forward(self, tokens: Tensor, position: Tensor) -> QueryKey:
        query, key = self.projection(tokens + position).chunk(2, dim=2)
        return QueryKey(_split_heads(query, self.heads), _split_heads(key, self.heads))


class EncoderLayer(nn.Module):
    """Attention and feed-forward, each followed by dropout, the residual sum and LayerNorm."""

    def __init__(self, width: int, feedforward: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = SelfAttention(width, heads, dropout)
        self.linear1 = nn.Linear(width, feedforward)
        self.linear2 = nn.Linear(feedforward, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        nn.init.xavier_uniform_(self.linear1.weight)
        nn.init.xavier_uniform_(self.linear2.weight)

    def forward(self, tokens: Tensor, position: Tensor) -> tuple[Tensor, QueryKey]:
        mixed, query_key = self.self_attn(tokens, position)
        tokens = self.norm1(tokens + self.dropout(mixed))
        expanded = self.linear2(self.dropout(F.relu(self.linear1(tokens))))
        return self.norm2(tokens + self.dropout(expanded)), query_key


class Encoded(NamedTuple):
    tokens: Tensor
    """[B, L, d]."""
    inputs: tuple[Tensor, ...]
    """What each layer read, [B, L, d]."""
    layers: tuple[QueryKey, ...]
    """Of each layer."""
    position: Tensor
    """[1, L, d]."""


class Encoder(nn.Module):
    """``layers`` encoder layers over a feature map, the position added in each; no final norm."""

    def __init__(self, layers: int, width: int, feedforward: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(width, feedforward, heads, dropout) for _ in range(layers))

    def forward(self, features: Tensor) -> Encoded:
        """[B, d, h, w] -> tokens in row-major order with everything the supervision reads."""
        _, channels, height, width = features.shape
        position = position_embedding(height, width, channels, device=features.device)
        tokens = features.flatten(2).transpose(1, 2)
        inputs: list[Tensor] = []
        query_keys: list[QueryKey] = []
        for layer in self.layers:
            inputs.append(tokens)
            tokens, query_key = layer(tokens, position)
            query_keys.append(query_key)
        return Encoded(tokens, tuple(inputs), tuple(query_keys), position)
