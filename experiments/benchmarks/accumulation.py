"""Gradients of accumulated batches against those of as many devices, and against one batch of all samples.

    python -m experiments.benchmarks.accumulation coco_mini
    python -m experiments.benchmarks.accumulation            (rendered people)

The smoke network of each paper with random weights, batch normalisation in eval mode and no dropout, eight
batches of two samples. Devices are emulated in this process: each computes its own batch's gradient with the divisors
of ``normalizers_over_ranks`` summed over all batches, and the gradients are averaged. Guided points (Graph-PCNN) are
drawn once for all samples. The image sizes of all samples are those of the one batch, padding included.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._pytree import tree_map_only

from datamodules.config import RenderedConfig
from datamodules.contracts import PoseBatch
from datamodules.skeleton import COCO
from datamodules.synthetic import make_dataset
from experiments.benchmarks.end_to_end import batch_of
from experiments.benchmarks.measuring import Setting
from experiments.config import compose, list_papers
from lightning_modules.papers import PAPERS, load

BATCHES, EACH = 8, 2
"""The batches of a step, and the samples of each: InsPose's and SSA's on one device."""
NORMALIZERS = "lightning_modules.inspose.criterion.normalizers_over_ranks"


class Gradients(NamedTuple):
    """Of all parameters, in a row."""

    accumulated: Tensor
    devices: Tensor
    together: Tensor


class Comparison(NamedTuple):
    cosine: float
    difference: float
    """Norm of the difference over the norm of the reference."""


def compare(gradient: Tensor, reference: Tensor) -> Comparison:
    gradient, reference = gradient.double(), reference.double()
    cosine = F.cosine_similarity(gradient, reference, dim=0)
    return Comparison(cosine.item(), ((gradient - reference).norm() / reference.norm()).item())


def gradients_of(paper: str, root: Path, batches: int = BATCHES, each: int = EACH) -> Gradients:
    """Of ``batches`` batches of ``each`` samples."""
    torch.manual_seed(0)
    config = compose(paper, "smoke")
    batch = batch_of(config, root, batches * each, Setting())
    module: Any = load(PAPERS[paper].module)(config.model, config.optimizer, COCO).train()
    module.log = module.log_dict = lambda *_, **__: None
    for layer in module.modules():
        if isinstance(layer, _BatchNorm | torch.nn.Dropout) or hasattr(layer, "dropout"):
            layer.eval()
    split = [share_of(batch, number, each) for number in range(batches)]
    fix_points(module, batch, split)
    together = gradient_of(module, batch)
    accumulated = torch.stack([gradient_of(module, one) for one in split]).mean(0)
    return Gradients(accumulated, devices(module, split), together)


def devices(module: Any, batches: list[PoseBatch]) -> Tensor:
    """The mean gradient of one process for each batch."""
    counts: list[Tensor] = []

    def note(own: Tensor) -> Tensor:
        counts.append(own)
        return own.float().clamp(min=1.0)

    with patch(NORMALIZERS, note), torch.no_grad():
        for one in batches:
            module.training_step(one, 0)
    if counts:
        shared = torch.stack(counts).float().sum(0).clamp(min=1.0) / len(batches)
        with patch(NORMALIZERS, lambda own: shared):
            return torch.stack([gradient_of(module, one) for one in batches]).mean(0)
    return torch.stack([gradient_of(module, one) for one in batches]).mean(0)


def gradient_of(module: Any, batch: PoseBatch) -> Tensor:
    module.zero_grad(set_to_none=True)
    module.training_step(batch, 0).backward()
    return torch.cat(
        [
            (torch.zeros_like(one) if one.grad is None else one.grad.detach().clone()).flatten()
            for one in module.parameters()
        ]
    )


def share_of(values: Any, number: int, each: int) -> Any:
    """The ``number``-th ``each`` samples."""
    return tree_map_only(Tensor, lambda tensor: tensor[number * each : (number + 1) * each], values)


def fix_points(module: Any, batch: PoseBatch, batches: list[PoseBatch]) -> None:
    """Let every batch of a module that samples guided points have those drawn for all samples together."""
    if not hasattr(module, "sample"):
        return
    draw: Callable[..., Any] = module.sample
    drawn: list[Any] = []

    def note(*inputs: Tensor) -> Any:
        drawn.append(draw(*inputs))
        return drawn[-1]

    place = {tuple(one.images.flatten()[:64].tolist()): number for number, one in enumerate(batches)}
    module.sample = note
    with torch.no_grad():
        module.training_step(batch, 0)

    def again(heatmaps: Tensor, *_: Tensor) -> Any:
        is_whole = len(heatmaps) == len(batch.images)
        return drawn[0] if is_whole else share_of(drawn[0], current[0], len(heatmaps))

    current = [0]
    step = module.training_step

    def noted(one: PoseBatch, index: int) -> Tensor:
        current[0] = place.get(tuple(one.images.flatten()[:64].tolist()), 0)
        result: Tensor = step(one, index)
        return result

    module.sample, module.training_step = again, noted


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(folder) / "rendered"
        if len(sys.argv) == 1:
            make_dataset(root, RenderedConfig(train_images=1, val_images=BATCHES * EACH, size=256), progress=False)
        for paper in list_papers():
            gradients = gradients_of(paper, root)
            apart = compare(gradients.accumulated, gradients.devices)
            whole = compare(gradients.accumulated, gradients.together)
            print(
                f"{paper:14} against {BATCHES} devices: cosine {apart.cosine:.4f}, difference {apart.difference:.2g}; "
                f"against one batch: cosine {whole.cosine:.4f}, difference {whole.difference:.2g}"
            )


if __name__ == "__main__":
    main()
