"""InsPose's KP-Nets: a loop over instances and one grouped convolution against the folded batched form.

    python -m experiments.benchmarks.inspose_kp_nets

One image of 800×1344, so 100×168 cells of stride 8, inference in fp32 on all threads. All forms give the same maps.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from itertools import accumulate
from statistics import median

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.profiler import profile

from datamodules.host_memory import keep_freed_memory
from experiments.benchmarks.measuring import Line, Setting
from experiments.benchmarks.products import operations, race_beside_product
from lightning_modules.inspose.kp_net import KPNetShape, apply_kp_nets, split_parameters
from lightning_modules.inspose.locations import FEATURE_STRIDE, cell_centers

SHAPE = KPNetShape(channels=8, depth=3, num_keypoints=17)
Form = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def relative_inputs(features: Tensor, locations: Tensor, scales: Tensor) -> Tensor:
    """F_kp with the relative coordinates of every instance, f32 [N, C + 2, h, w]."""
    height, width = features.shape[-2:]
    centers = cell_centers((height, width), FEATURE_STRIDE, features.device)
    offsets = (centers - locations[0, :, None]) / scales[0, :, None, None]
    offsets = offsets.transpose(1, 2).unflatten(-1, (height, width))
    return torch.cat([features.expand(len(offsets), -1, -1, -1), offsets], dim=1)


def loop(features: Tensor, parameters: Tensor, locations: Tensor, scales: Tensor, shape: KPNetShape = SHAPE) -> Tensor:
    """One instance after the other, as the released code does."""
    maps = []
    inputs = relative_inputs(features, locations, scales)
    for instance in range(parameters.shape[1]):
        x = inputs[instance : instance + 1]
        for depth, (weight, bias) in enumerate(split_parameters(parameters[:, instance : instance + 1], shape)):
            x = F.conv2d(x.relu() if depth else x, weight[0, 0, :, :, None, None], bias[0, 0])
        maps.append(x)
    return torch.stack(maps, dim=1)


def grouped(features: Tensor, parameters: Tensor, locations: Tensor, scales: Tensor) -> Tensor:
    """All instances as the groups of one convolution, as CondInst does."""
    x = relative_inputs(features, locations, scales).flatten(0, 1).unsqueeze(0)
    count = parameters.shape[1]
    for depth, (weight, bias) in enumerate(split_parameters(parameters, SHAPE)):
        x = F.conv2d(
            x.relu() if depth else x, weight[0].flatten(0, 1)[..., None, None], bias[0].flatten(), groups=count
        )
    return x.unflatten(1, (count, -1))


def folded(features: Tensor, parameters: Tensor, locations: Tensor, scales: Tensor) -> Tensor:
    return apply_kp_nets(features, parameters, locations, scales, SHAPE)


FORMS: dict[str, Form] = {"loop": loop, "grouped convolution": grouped, "folded (ours)": folded}


def sample(instances: int, height: int, width: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Features, parameters, locations and scales of ``instances`` people on a map of ``height`` × ``width`` cells."""
    generator = torch.Generator().manual_seed(0)
    size = torch.tensor([width, height]) * FEATURE_STRIDE
    return (
        torch.randn(1, SHAPE.channels, height, width, generator=generator),
        torch.randn(1, instances, SHAPE.num_parameters, generator=generator),
        torch.rand(1, instances, 2, generator=generator) * size,
        torch.full((1, instances), 64.0),
    )


def peak_memory(run: Callable[[], object]) -> int:
    """Most bytes that PyTorch held at a time for what ``run`` made."""
    with profile(profile_memory=True) as profiled:
        run()
    assert profiled.profiler is not None
    events = profiled.profiler.kineto_results.events()
    changes = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
    return max(accumulate(change for _, change in changes))


@torch.no_grad()
def lines(setting: Setting, counts: tuple[int, ...] = (10, 64, 256), height: int = 100, width: int = 168) -> list[Line]:
    """Two lines per number of people: time, and the most memory held at a time, the maps included."""
    keep_freed_memory()  # else new pages for maps of 73 MB take longer than any form of the product
    found = []
    for count in (*counts, 500) if setting.full else counts:
        arguments = [tensor.to(setting.device) for tensor in sample(count, height, width)]
        runs = {name: partial(form, *arguments) for name, form in FORMS.items()}
        work = operations(runs["folded (ours)"])
        times, limit = race_beside_product(setting, runs, work, repeats=3)
        peaks = [peak_memory(run) / 1e6 for run in runs.values()]
        (loop_ms, grouped_ms, ours_ms), (loop_mb, grouped_mb, ours_mb) = times.values(), peaks
        maps = count * SHAPE.num_keypoints * height * width * 4 / 1e6
        note = "naive: a loop over people; peer: one grouped convolution (CondInst); limit: ours' products at the rate "
        note += "of a large one of matrices, though each adds up no more than 11 values"
        why = "its maps are larger than any cache, and writing them takes as long in every form"
        memory = "the most held at a time; columns as above; limit: the maps that come out"
        found += [
            Line(f"KP-Nets, {count} people", ours_ms, loop_ms, grouped_ms, limit, asked=2.0, note=note, why_behind=why),
            Line(
                f"KP-Nets, {count} people, memory",
                ours_mb,
                loop_mb,
                grouped_mb,
                maps,
                unit="MB",
                asked=2.0,
                note=memory,
            ),
        ]
    return found


@torch.no_grad()
def main(counts: tuple[int, ...] = (10, 64, 200), height: int = 100, width: int = 168, repeats: int = 3) -> None:
    print(f"{'instances':>9}" + "".join(f"{name + ', ms':>25}" for name in FORMS) + f"{'loop / ours':>13}")
    for count in counts:
        arguments = sample(count, height, width)
        times: dict[str, list[float]] = {name: [] for name in FORMS}
        for _ in range(repeats):
            for name, form in FORMS.items():
                start = time.perf_counter()
                form(*arguments)
                times[name].append(time.perf_counter() - start)
        seconds = {name: median(values) for name, values in times.items()}
        cells = "".join(f"{1e3 * value:25.0f}" for value in seconds.values())
        print(f"{count:9d}{cells}{seconds['loop'] / seconds['folded (ours)']:12.1f}x")


if __name__ == "__main__":
    main()
