"""How much each loss term pulls at the features that all of them share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn


def term_shares(trainer: pl.Trainer, module: pl.LightningModule, batch: Any) -> dict[str, Tensor]:
    """The norm of each weighted loss term's gradient at the module's shared features, f32 scalars on the device.

    The module gives ``loss_terms(batch)``, ``loss_weights`` and ``shared_features``, the submodule whose output they
    are. One more forward pass of ``batch`` and a backward pass for each term from it down to these features alone:
    random state, buffers (running statistics) and gradients are afterwards as before. Every rank must call it.

    Returns:
        By term, weights of 0 left out; nothing for a module of a single term or without the three.
    """
    shared: nn.Module | None = getattr(module, "shared_features", None)
    weights: dict[str, float] = getattr(module, "loss_weights", {})
    loss_terms: Callable[[Any], dict[str, Tensor]] | None = getattr(module, "loss_terms", None)
    if shared is None or loss_terms is None:
        return {}
    leaves: list[Tensor] = []

    def cut(_: nn.Module, __: Any, output: Any) -> Any:
        tensors = [output] if isinstance(output, Tensor) else list(output)
        new = [tensor.detach().requires_grad_() for tensor in tensors]
        leaves.extend(new)
        copies = [leaf.clone() for leaf in new]  # which a layer may overwrite
        return copies[0] if isinstance(output, Tensor) else copies

    scale = _loss_scale(trainer)
    hook = shared.register_forward_hook(cut)
    try:
        with _left_as_it_was(module), torch.enable_grad(), torch.compiler.set_stance("force_eager"):
            with trainer.precision_plugin.train_step_context():
                terms = loss_terms(batch)
            weighted = {name: weights[name] * term for name, term in terms.items() if weights[name]}
            return {
                name: _norm(torch.autograd.grad(scale * term, leaves, retain_graph=True, materialize_grads=True))
                / scale
                for name, term in (weighted.items() if len(terms) > 1 else ())
                if term.requires_grad
            }
    finally:
        hook.remove()


def _loss_scale(trainer: pl.Trainer) -> float:
    """What half precision multiplies a loss by; 1 without a scaler."""
    scaler = getattr(trainer.precision_plugin, "scaler", None)
    return 1.0 if scaler is None else float(scaler.get_scale())


def _norm(gradients: tuple[Tensor, ...]) -> Tensor:
    """The norm over all of them together."""
    return torch.stack([torch.linalg.vector_norm(one.float()) for one in gradients]).norm()


@contextmanager
def _left_as_it_was(module: nn.Module) -> Iterator[None]:
    """Put random state and buffers back afterwards."""
    buffers = list(module.buffers())
    kept = [buffer.clone() for buffer in buffers]
    device = next(module.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield
    with torch.no_grad():
        for buffer, before in zip(buffers, kept, strict=True):
            buffer.copy_(before)
