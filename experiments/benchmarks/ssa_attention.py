"""SSA's fused attention with a few fp32 rows against full weights in every layer.

    python -m experiments.benchmarks.ssa_attention

Six encoder layers, d = 192, forward and backward of one image with 136 labelled keypoints (8 people). The naive form
materialises every layer's L × L weights, as reading them from ``nn.MultiheadAttention`` does. Fused attention keeps
queries, keys and values instead; with dropout, as in training, a CPU's fused kernel is ours. One layer's attention is
also measured by itself: what an encoder keeps besides, both forms keep.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional as F

from experiments.benchmarks.measuring import Line, Setting
from experiments.benchmarks.products import operations, race_beside_product
from lightning_modules.ssa.attention import Encoder, QueryKey, attention_rows, position_embedding
from lightning_modules.ssa.dropped_attention import attend

WIDTH, LAYERS, ROWS = 192, 6, 136
DROPOUT = 0.1
"""Of the paper's training."""
AT_RATE = "at the rate of a large one of matrices"


class FullWeights(nn.Module):
    """The same encoder on PyTorch's attention, weights asked for in every layer."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(WIDTH, 1, 2 * WIDTH, dropout, batch_first=True) for _ in range(LAYERS)
        )

    def forward(self, tokens: Tensor, position: Tensor) -> tuple[Tensor, list[Tensor]]:
        weights = []
        layer: Any
        for layer in self.layers:
            query = tokens + position
            mixed, attention = layer.self_attn(query, query, tokens, need_weights=True)
            weights.append(attention)
            tokens = layer.norm1(tokens + layer.dropout1(mixed))
            expanded = layer.linear2(layer.dropout(layer.activation(layer.linear1(tokens))))
            tokens = layer.norm2(tokens + layer.dropout2(expanded))
        return tokens, weights


def ours(encoder: Encoder, features: Tensor, cells: Tensor) -> Tensor:
    encoded = encoder(features)
    return encoded.tokens.square().mean() + attention_rows((encoded.layers[3],), cells).square().mean()


def naive(encoder: FullWeights, features: Tensor, cells: Tensor) -> Tensor:
    position = position_embedding(features.shape[2], features.shape[3], WIDTH)
    tokens, weights = encoder(features.flatten(2).transpose(1, 2), position)
    return tokens.square().mean() + weights[3][:, cells[0]].square().mean()


def transformer_encoder(dropout: float) -> nn.TransformerEncoder:
    """PyTorch's own encoder of the same sizes."""
    layer = nn.TransformerEncoderLayer(WIDTH, 1, 2 * WIDTH, dropout, batch_first=True)
    return nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)


def tokens_alone(encoder: nn.TransformerEncoder, features: Tensor, cells: Tensor) -> Tensor:
    """The position is added once, before the first layer, and no rows are asked for: it can do neither otherwise."""
    position = position_embedding(features.shape[2], features.shape[3], WIDTH)
    tokens: Tensor = encoder(features.flatten(2).transpose(1, 2) + position)
    return tokens.square().mean()


def kept_for_backward(run: Callable[[], Tensor], module: nn.Module) -> int:
    """Bytes of the different tensors that autograd keeps, parameters left out."""
    parameters = {parameter.untyped_storage().data_ptr() for parameter in module.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = run()
    del loss
    return sum(kept.values())


def seconds(run: Callable[[], Tensor], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.process_time()
        run().backward()
        times.append(time.process_time() - start)
    return float(np.median(times))


def measure(side: int, repeats: int, dropout: float) -> None:
    features = torch.randn(1, WIDTH, side, side)
    cells = torch.randint(0, side * side, (1, ROWS))
    figures = []
    forms: dict[str, tuple[nn.Module, Callable[..., Tensor]]] = {
        "full weights": (FullWeights(dropout).train(), naive),
        "rows asked": (Encoder(LAYERS, WIDTH, 2 * WIDTH, 1, dropout).train(), ours),
    }
    for name, (module, forward) in forms.items():
        run = partial(forward, module, features, cells)
        kept = kept_for_backward(run, module)
        figures.append((seconds(run, repeats), kept))
        print(f"{side * side:5d} {name:>13} {1e3 * figures[-1][0]:8.0f} {kept / 1e6:22.0f}")
    (slow, much), (fast, little) = figures
    print(f"{side * side:5d} {'ratio':>13} {slow / fast:7.1f}x {much / little:21.1f}x")


def _step(run: Callable[[], Tensor]) -> None:
    run().backward()


def weights_and_rows(query: Tensor, key: Tensor, value: Tensor, dropout: float, cells: Tensor) -> Tensor:
    """One layer's attention by its full weights [B, heads, L, L], and the rows asked for."""
    weights = (query @ key.transpose(2, 3) / query.shape[3] ** 0.5).softmax(3)
    mixed = F.dropout(weights, dropout) @ value
    return mixed.square().mean() + weights.mean(1)[:, cells[0]].square().mean()


def pytorchs_and_rows(query: Tensor, key: Tensor, value: Tensor, dropout: float, cells: Tensor) -> Tensor:
    """The same by ``scaled_dot_product_attention``."""
    mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
    return mixed.square().mean() + attention_rows((QueryKey(query, key),), cells).square().mean()


def ours_and_rows(query: Tensor, key: Tensor, value: Tensor, dropout: float, cells: Tensor) -> Tensor:
    """The same as the encoder has it."""
    mixed = attend(query, key, value, dropout)
    return mixed.square().mean() + attention_rows((QueryKey(query, key),), cells).square().mean()


def attention_lines(setting: Setting, length: int, dropout: float, name: str) -> list[Line]:
    """One layer's attention and rows, forward and backward, and the bytes kept between."""
    inputs = [torch.randn(1, 1, length, WIDTH, device=setting.device, requires_grad=True) for _ in range(3)]
    cells = torch.randint(0, length, (1, ROWS), device=setting.device)
    forms: dict[str, Callable[..., Tensor]] = {
        "ours": ours_and_rows,
        "full": weights_and_rows,
        "pytorch": pytorchs_and_rows,
    }
    runs = {key: partial(form, *inputs, dropout, cells) for key, form in forms.items()}
    steps = {key: partial(_step, run) for key, run in runs.items()}
    work = operations(steps["full"])  # what ours computes anew is its own affair
    with setting.autocast():
        times, limit = race_beside_product(setting, steps, work, repeats=3)
        kept = {key: kept_for_backward(run, nn.Module()) / 1e6 for key, run in runs.items()}
    note = "one layer; naive: full weights; peer: scaled_dot_product_attention, on a CPU full weights with dropout; "
    note += f"limit: naive's products {AT_RATE}"
    memory = "kept for the backward pass, inputs included; columns as above; limit: inputs, output and rows"
    least = 1.0 if setting.is_gpu or not dropout else None
    bytes_each = 2 if setting.is_gpu else 4
    bound = (4 * length * WIDTH + ROWS * length) * bytes_each / 1e6
    return [
        _line(f"{name}, forward + backward", times, limit, asked=least, note=note),
        _line(f"{name}, memory", kept, bound, unit="MB", asked=2.0, note=memory),
    ]


def encoder_lines(setting: Setting, side: int, dropout: float, name: str) -> list[Line]:
    """The encoder's forward and backward pass for one picture, rows of one layer, and the bytes kept between."""
    features = torch.randn(1, WIDTH, side, side, device=setting.device)
    cells = torch.randint(0, side * side, (1, ROWS), device=setting.device)
    forms: dict[str, tuple[nn.Module, Callable[..., Tensor]]] = {
        "ours": (Encoder(LAYERS, WIDTH, 2 * WIDTH, 1, dropout), ours),
        "full": (FullWeights(dropout), naive),
        "pytorch": (transformer_encoder(dropout), tokens_alone),
    }
    modules = {key: module.train().to(setting.device) for key, (module, _) in forms.items()}
    runs = {key: partial(form, modules[key], features, cells) for key, (_, form) in forms.items()}
    steps = {key: partial(_step, run) for key, run in runs.items()}
    work = operations(steps["full"])
    with setting.autocast():
        times, limit = race_beside_product(setting, steps, work, repeats=2, budget=5.0)
        kept = {key: kept_for_backward(run, modules[key]) / 1e6 for key, run in runs.items()}
    note = "six layers; naive: every layer's full weights, as nn.MultiheadAttention gives them; peer: "
    note += f"nn.TransformerEncoder, which gives no rows and adds the position once; limit: naive's products {AT_RATE}"
    weights = LAYERS * (3 if dropout else 1) * 4 * side**4 / 1e6
    rest = f"kept for the backward pass; {weights:.0f} MB of naive's are weights, the rest, of projections, norms and "
    rest += f"feed-forward, is in both: attention gains at most {kept['full'] / (kept['full'] - weights):.2f}×; limit: "
    rest += "what goes into the layers and comes out, all else computed anew"
    fewer = "its position is added once, so a layer keeps one tensor of tokens less"
    bound = (LAYERS + 1) * side * side * WIDTH * 4 / 1e6
    least = (0.9, 2.0) if dropout else (1.0, 1.0)
    return [
        _line(f"{name}, forward + backward", times, limit, asked=least[0], note=note),
        _line(f"{name}, memory", kept, bound, unit="MB", asked=least[1], note=rest, why_behind=fewer),
    ]


def _line(name: str, figures: dict[str, float], limit: float, **more: Any) -> Line:
    columns = (figures["ours"], figures["full"], figures["pytorch"], limit)
    return Line(name, *columns, **{"why_behind": "the same work, within what runs differ by"} | more)


def lines(setting: Setting, side: int = 40) -> list[Line]:
    """One layer's attention, then six layers, without and with dropout."""
    torch.manual_seed(0)
    found = []
    for dropout in (0.0, DROPOUT):
        what = f"{side * side} tokens, " + (f"dropout {dropout}" if dropout else "no dropout")
        found += attention_lines(setting, side * side, dropout, f"SSA attention, {what}")
        found += encoder_lines(setting, side, dropout, f"SSA encoder, {what}")
    return found


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    for dropout in (0.0, DROPOUT):
        print(f"dropout {dropout}\n{'L':>5} {'form':>13} {'CPU ms':>8} {'kept for backward, MB':>22}")
        for side in (40, 50):
            measure(side, repeats=7, dropout=dropout)


if __name__ == "__main__":
    main()
