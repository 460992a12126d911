"""Vital signs of every part of the network: gradient, weights, update, and who of the loss terms pulls how much."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from callbacks.nan_guard import start_copy
from callbacks.starvation import Rule, Starvation, VitalSigns
from callbacks.term_shares import term_shares
from lightning_modules.shared.vital_parts import Part, children_as_parts

LOGGED = ("grad_norm", "weight_norm", "update_norm", "update_over_lr")
SAMPLE = 2**14
"""Values of a part that its medians are over, at fixed places evenly spread; a smaller part is taken whole."""
TERMS_EVERY = 10
"""Measurements from one of the loss terms' shares to the next, which is a forward pass and several backward ones."""


class _Held(NamedTuple):
    """What is kept from just before an optimizer step to just after it."""

    parts: dict[str, Part]
    trained: list[list[nn.Parameter]]
    """Of each part, those with a gradient that the optimizer holds."""
    before: list[Tensor]
    """Their weights, all parts in a row."""
    gradients: Tensor
    """f32 [parts]."""
    rules: dict[str, Rule]
    rates: list[float]
    """The rate of each of ``before``."""


class _Measured(NamedTuple):
    step: int
    rules: dict[str, Rule]
    terms: list[str]
    values: Tensor
    """f32 [5 parts + terms] on the host, there once ``event`` has passed: ``VitalSigns``, then gradient norms."""
    event: Any


class Vitals(pl.Callback):
    """Measures every part of the network at every ``every``-th optimizer step.

    A module names its parts in ``named_parts()``; without it they are its direct children. Logged of each part, to
    ``trainer.loggers``, on rank 0:

    ``vitals/<part>/grad_norm``       the norm of the gradient of the optimizer step: over all devices and accumulated
                                      batches, unscaled, before clipping; 0 where no gradient arrives.
    ``vitals/<part>/weight_norm``     the norm of its weights after the step.
    ``vitals/<part>/update_norm``     the norm of what the step added to them, weight decay included.
    ``vitals/<part>/update_over_lr``  the median over its values of |update| / learning rate, each at the present rate
                                      of its own parameter group. Adam's largest is about 1; under SGD it is the size of
                                      the momentum, in units of the gradient.
    ``vitals/<term>/grad_share``      the share of a loss term, weighted, in the gradient that reaches the shared
                                      features (``callbacks.term_shares``); every ``TERMS_EVERY`` measurements.

    A part that hardly moves is reported in one line (``callbacks.starvation``). A step that was left out is not
    measured. Nothing is read from the device until the next step; between measurements nothing is computed.

    Args:
        every: optimizer steps between two measurements.
        say: prints a line for the user.
        patience: optimizer steps over which a part has to be starved before it is reported.
    """

    def __init__(self, every: int, say: Callable[[str], None], patience: int = 200) -> None:
        self.every = every
        self.say = say
        self._starvation = Starvation(patience)
        self._held: _Held | None = None
        self._pending: _Measured | None = None

    def state_dict(self) -> dict[str, Any]:
        return self._starvation.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._starvation.load_state_dict(state_dict)

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        if (trainer.global_step + 1) % self.every == 0:
            self._held = hold(pl_module, optimizer)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._read(trainer)
        held, self._held = self._held, None
        if held is None:
            return
        step, norms = trainer.global_step, {}
        if (step // self.every) % TERMS_EVERY == 0:
            norms = term_shares(trainer, pl_module, batch)  # on every rank: losses count over ranks
        if trainer.is_global_zero:
            values = measure(held, trainer.optimizers[0])
            packed = torch.cat([values.flatten(), *(norm.reshape(1) for norm in norms.values())])
            self._pending = _Measured(step, held.rules, list(norms), *start_copy(packed))

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._read(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._read(trainer)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._read(trainer)

    def _read(self, trainer: pl.Trainer) -> None:
        """Log and judge what was measured, if anything is."""
        measured, self._pending = self._pending, None
        if measured is None:
            return
        if measured.event is not None:
            measured.event.synchronize()
        rows, norms = measured.values.split([5 * len(measured.rules), len(measured.terms)])
        signs = {name: VitalSigns(*row) for name, row in zip(measured.rules, rows.view(-1, 5).tolist(), strict=True)}
        if not all(math.isfinite(sign.grad_norm) for sign in signs.values()):
            return  # the gradient scaler left this step out
        found = {
            f"vitals/{part}/{name}": getattr(sign, name)
            for part, sign in signs.items()
            for name in LOGGED
            if math.isfinite(getattr(sign, name))
        }
        if measured.terms and 0 < float(norms.sum()) < math.inf:
            shares = (norms / norms.sum()).tolist()
            found |= {f"vitals/{term}/grad_share": share for term, share in zip(measured.terms, shares, strict=True)}
        for logger in trainer.loggers:
            logger.log_metrics(found, step=measured.step - 1)
        for line in self._starvation.judge(measured.step, measured.rules, signs):
            self.say(line)


@torch.no_grad()
def hold(module: pl.LightningModule, optimizer: Optimizer) -> _Held | None:
    """Copy the weights before an optimizer step; None where there is no gradient at all, since the step is left out."""
    name_parts = getattr(module, "named_parts", None)
    parts: dict[str, Part] = children_as_parts(module) if name_parts is None else name_parts()
    groups = {id(parameter): group for group in optimizer.param_groups for parameter in group["params"]}
    trained = [
        [one for one in part.parameters if one.grad is not None and id(one) in groups] for part in parts.values()
    ]
    flat = [parameter for some in trained for parameter in some]
    if not flat:
        return None
    gradients = _norms([[one.grad for one in some if one.grad is not None] for some in trained], flat[0].device)
    before = [parameter.detach().clone() for parameter in flat]
    rules = {name: _rule(part, groups) for name, part in parts.items()}
    return _Held(parts, trained, before, gradients, rules, [float(groups[id(one)]["lr"]) for one in flat])


@torch.no_grad()
def measure(held: _Held, optimizer: Optimizer) -> Tensor:
    """The vital signs f32 [parts, 5] after the step, on the device.

    ``before`` is overwritten: it holds the negative updates afterwards.
    """
    device = held.before[0].device
    flat = [parameter.detach() for some in held.trained for parameter in some]
    weights = _norms([part.parameters for part in held.parts.values()], device)
    kept = iter(zip(held.before, held.rates, strict=True))
    torch._foreach_sub_(held.before, flat)
    pairs = [[next(kept) for _ in some] for some in held.trained]
    updates = _norms([[update for update, _ in some] for some in pairs], device)
    moves, roots = [], []
    for some, changed in zip(held.trained, pairs, strict=True):
        stride = _stride(sum(parameter.numel() for parameter in some))
        moved = [_sample(update, stride).abs() / rate if rate > 0 else None for update, rate in changed]
        moves.append(_median([one for one in moved if one is not None], device))
        roots.append(_median(_second_moments(optimizer, some, stride), device))
    return torch.stack([held.gradients, weights, updates, torch.stack(moves), torch.stack(roots)], dim=1)


def _rule(part: Part, groups: dict[int, dict[str, Any]]) -> Rule:
    learning = [parameter for parameter in part.parameters if parameter.requires_grad]
    own = [groups[id(parameter)] for parameter in learning if id(parameter) in groups]
    rate = max((group["lr"] / (group.get("initial_lr") or group["lr"] or 1.0) for group in own), default=0.0)
    return Rule(
        should_learn=part.should_learn,
        is_frozen=not learning,
        is_optimized=bool(own),
        eps=own[0]["eps"] if own and "betas" in own[0] else None,
        rate_share=float(rate),
    )


def _norms(groups: list[Any], device: torch.device) -> Tensor:
    """Norm over all tensors of each group, f32 [groups]; 0 for an empty one."""
    squares = torch.zeros(len(groups), device=device)
    tensors = [tensor for group in groups for tensor in group]
    if not tensors:
        return squares
    each = torch.stack([torch.linalg.vector_norm(one, dtype=_at_least_f32(one)).float() for one in tensors])
    place = torch.tensor([index for index, group in enumerate(groups) for _ in group], device=device)
    return squares.index_add(0, place, each.square()).sqrt()


def _at_least_f32(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)


def _stride(values: int) -> int:
    """Step of a sample of at most ``SAMPLE`` of so many values that hits every place of a kernel and every channel."""
    stride = max(1, math.ceil(values / SAMPLE))
    while math.gcd(stride, 2 * 3 * 5 * 7) > 1:
        stride += 1
    return stride


def _sample(values: Tensor, stride: int) -> Tensor:
    """Every ``stride``-th value in the order of memory, f32."""
    return values.as_strided((values.numel(),), (1,), values.storage_offset())[::stride].float()


def _second_moments(optimizer: Optimizer, parameters: list[nn.Parameter], stride: int) -> list[Tensor]:
    """Adam's √v̂ at the sampled places; nothing for another optimizer."""
    found = []
    for parameter in parameters:
        state = optimizer.state.get(parameter, {})
        if "exp_avg_sq" in state:
            beta = next(group["betas"][1] for group in optimizer.param_groups if "betas" in group)
            correction = 1 - beta ** torch.as_tensor(state["step"]).to(parameter.device, non_blocking=True)
            found.append((_sample(state["exp_avg_sq"], stride) / correction).sqrt())
    return found


def _median(values: list[Tensor], device: torch.device) -> Tensor:
    return torch.cat(values).median() if values else torch.full((), math.nan, device=device)
