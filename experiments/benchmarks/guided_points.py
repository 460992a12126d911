"""Graph-PCNN's guided points and the features there, for a whole batch, against joint by joint; and its graph.

    python -m experiments.benchmarks.guided_points

8 crops of 17 keypoints on maps of 64×48, 108 points each in the paper's proportion, and 128 feature channels. The
graph's 55 transforms as one product against one after the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.skeleton import COCO
from experiments.benchmarks.measuring import Line, Setting
from experiments.benchmarks.products import operations, race_beside_product
from experiments.benchmarks.ssa_attention import kept_for_backward
from lightning_modules.graph_pcnn.config import Config
from lightning_modules.graph_pcnn.graph_refinement import GraphConvolution, directed_edges
from lightning_modules.graph_pcnn.guided_points import GuidedPointSampler, features_at

HEIGHT, WIDTH, CHANNELS = 64, 48, 128


def sample(crops: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Heatmaps [B, K, h, w], targets [B, K, 2], which are labelled [B, K], and features [B, C, h, w]."""
    generator = torch.Generator().manual_seed(0)
    return (
        torch.rand(crops, 17, HEIGHT, WIDTH, generator=generator),
        torch.rand(crops, 17, 2, generator=generator) * torch.tensor([WIDTH - 1.0, HEIGHT - 1.0]),
        torch.rand(crops, 17, generator=generator) < 0.8,
        torch.randn(crops, CHANNELS, HEIGHT, WIDTH, generator=generator),
    )


def joint_by_joint(
    sampler: GuidedPointSampler, heatmaps: Tensor, targets: Tensor, labelled: Tensor, features: Tensor
) -> list[NDArray[np.float32]]:
    """Points and features of every labelled keypoint on the host, one point after another -> [N, C] each."""
    generator = np.random.default_rng(0)
    maps, planes, found = heatmaps.cpu().numpy(), features.cpu().numpy(), []
    (near, far, high), radius = sampler.counts, sampler.positive_radius
    limit = np.array([WIDTH - 1.0, HEIGHT - 1.0])
    for crop, joint in labelled.nonzero().tolist():
        center = targets[crop, joint].cpu().numpy()
        points = []
        for _ in range(near):
            angle, distance = generator.uniform(0, 2 * math.pi), radius * math.sqrt(generator.uniform())
            points.append(np.clip(center + distance * np.array([math.cos(angle), math.sin(angle)]), 0, limit))
        while len(points) < near + far:
            point = generator.uniform(0, 1, 2) * limit
            if np.linalg.norm(point - center) >= radius:
                points.append(point)
        best = np.argsort(-maps[crop, joint].ravel())[: sum(sampler.counts)]
        for cell in generator.choice(best, high, replace=False):
            points.append(np.array([cell % WIDTH, cell // WIDTH], dtype=np.float64))
        found.append(np.stack([_bilinear(planes[crop], *point) for point in points]))
    return found


def _bilinear(plane: NDArray[np.float32], x: float, y: float) -> NDArray[Any]:
    column, row = min(int(x), WIDTH - 2), min(int(y), HEIGHT - 2)
    right, down = x - column, y - row
    above = plane[:, row, column] * (1 - right) + plane[:, row, column + 1] * right
    below = plane[:, row + 1, column] * (1 - right) + plane[:, row + 1, column + 1] * right
    return above * (1 - down) + below * down


def edge_by_edge(graph: GraphConvolution, features: Tensor, weights: Tensor) -> Tensor:
    """Eq. 7 one transform after the other: features [K, C, M], weights [K, M] -> [K, D, M]."""
    summed: list[Any] = [0.0] * len(weights)
    total: list[Any] = [0.0] * len(weights)
    for matrix, source, target in zip(graph.weight, graph.source.tolist(), graph.target.tolist(), strict=True):
        weight = weights[source] if source != target else torch.ones_like(weights[source])
        summed[target] = summed[target] + matrix @ features[source] * weight
        total[target] = total[target] + weight
    return torch.stack([each / by for each, by in zip(summed, total, strict=True)]) + graph.bias


def graph_lines(setting: Setting, points: int, channels: int = 256) -> list[Line]:
    """Messages of the graph pose refinement, forward and backward, and the bytes kept between."""
    torch.manual_seed(0)
    edges = directed_edges(COCO.limb_indices, COCO.num_keypoints, neighbours=True)
    graph = GraphConvolution(channels, channels, edges, COCO.num_keypoints).to(setting.device)
    features = torch.randn(COCO.num_keypoints, channels, points, device=setting.device, requires_grad=True)
    weights = torch.rand(COCO.num_keypoints, points, device=setting.device)
    forms: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"loop": partial(edge_by_edge, graph), "ours": graph}

    def loss(form: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        with setting.autocast():
            return form(features, weights).float().square().mean()

    steps = {name: partial(_step, partial(loss, form)) for name, form in forms.items()}
    times, limit = race_beside_product(setting, steps, operations(steps["loop"]), repeats=3)
    kept = {name: kept_for_backward(partial(loss, form), graph) / 1e6 for name, form in forms.items()}
    name, note = "graph pose refinement", f"{len(edges)} transforms of {points} graphs; naive: one after the other"
    note += "; limit: naive's products at the rate of a large one of matrices"
    memory = "kept for the backward pass: features once; they are laid side by side for every transform again; limit: "
    memory += "features and messages, which the loss keeps, in fp32"
    least = 2 * features.nbytes / 1e6
    nobody = {"peer": "no public implementation"}
    timed = Line(f"{name}, forward + backward", times["ours"], times["loop"], limit=limit, asked=1.0, note=note)
    held = Line(f"{name}, memory", kept["ours"], kept["loop"], limit=least, unit="MB", asked=0.99, note=memory)
    return [timed._replace(without=nobody), held._replace(without=nobody)]


def _step(loss: Callable[[], Tensor]) -> None:
    loss().backward()


def lines(setting: Setting, crops: int = 8) -> list[Line]:
    config = Config()
    sampler = GuidedPointSampler.from_config(config)
    heatmaps, targets, labelled, features = (value.to(setting.device) for value in sample(crops))

    def ours() -> Tensor:
        return features_at(features, sampler(heatmaps, targets, labelled).position)

    shape = ours().shape
    runs = {
        "loop": lambda: joint_by_joint(sampler, heatmaps, targets, labelled, features),
        "ours": ours,
        "limit": lambda: torch.full(shape, 0.5, device=setting.device),
    }
    times = setting.race(runs, repeats=3)
    note = f"{crops} crops, {config.num_points} points a keypoint; naive: on the host, point by point, no transfer back"
    note += "; limit: as many features of one number"
    columns = (times["ours"], times["loop"], None, times["limit"])
    without = {"peer": "no public implementation"}
    return [
        Line("guided points and features", *columns, asked=3.0, note=note, without=without),
        *graph_lines(setting, points=48 * crops),
    ]


def main() -> None:
    for line in lines(Setting()):
        print(f"{line.name}: loops {line.naive:.1f} {line.unit}, ours {line.ours:.1f} {line.unit}")


if __name__ == "__main__":
    main()
