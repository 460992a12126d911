"""SSN's fractional shift against other forms of the same function, inside a feature shifting module.

    python -m experiments.benchmarks.ssn_shift

C = 256, K = 512, maps of 64×48, sigmoid attention, forward and backward in fp32 and under bf16 autocast. ``none``
is the module without shifting: what a form adds to it is its price. CPU seconds of one thread, so that other work on
the machine counts little; bytes are those that autograd keeps.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional as F
from torchvision.ops import deform_conv2d

from datamodules.host_memory import keep_freed_memory
from experiments.benchmarks.measuring import Line, Setting
from lightning_modules.ssn.translation import translate

Form = Callable[[Tensor, Tensor], Tensor]


def one_grid_per_channel(maps: Tensor, offsets: Tensor) -> Tensor:
    """``grid_sample`` with the channels as its batch."""
    height, width = maps.shape[2:]
    y = torch.arange(height, device=maps.device)[None, :, None] - offsets[:, 1, None, None]
    x = torch.arange(width, device=maps.device)[None, None, :] - offsets[:, 0, None, None]
    grid = torch.stack(torch.broadcast_tensors((2 * x + 1) / width - 1, (2 * y + 1) / height - 1), dim=-1)
    return F.grid_sample(maps.transpose(0, 1), grid, padding_mode="zeros", align_corners=False).transpose(0, 1)


def four_gathers(maps: Tensor, offsets: Tensor) -> Tensor:
    """Each neighbour gathered, weighed and added; autograd scatters."""
    batch, _, height, width = maps.shape
    whole = (-offsets).floor()
    fraction, whole = -offsets - whole, whole.long()
    moved = torch.zeros_like(maps)
    for down in (0, 1):
        rows = torch.arange(height, device=maps.device) + whole[:, 1:] + down
        row_weight = (fraction[:, 1:] if down else 1 - fraction[:, 1:]) * ((rows >= 0) & (rows < height))
        for right in (0, 1):
            columns = torch.arange(width, device=maps.device) + whole[:, :1] + right
            weight = (fraction[:, :1] if right else 1 - fraction[:, :1]) * ((columns >= 0) & (columns < width))
            index = rows.clamp(0, height - 1)[:, :, None] * width + columns.clamp(0, width - 1)[:, None]
            values = maps.flatten(2).gather(2, index.flatten(1).expand(batch, -1, -1)).view_as(maps)
            moved = moved + values * (row_weight[:, :, None] * weight[:, None])
    return moved


def banded_products(maps: Tensor, offsets: Tensor) -> Tensor:
    """Two matrix products a channel, with the hat functions of its rows and columns."""

    def hats(shift: Tensor, length: int) -> Tensor:
        index = torch.arange(length, device=maps.device)
        return (1 - (index[:, None] - index - shift[:, None, None]).abs()).clamp_min(0)

    height, width = maps.shape[2:]
    return torch.einsum("kyh,bkhw,kxw->bkyx", hats(offsets[:, 1], height), maps, hats(offsets[:, 0], width))


def equal_windows(maps: Tensor, offsets: Tensor) -> Tensor:
    """torchvision's ``deform_conv2d``: a 1×1 window a channel, at the same position everywhere."""
    batch, channels, height, width = maps.shape
    wide = maps.float() if maps.dtype is torch.bfloat16 else maps  # which it does not know
    windows = -offsets.flip(1).flatten().to(wide.dtype)  # y before x, and where a pixel comes from
    weight = wide.new_ones(channels, 1, 1, 1)
    moved: Tensor = deform_conv2d(wide, windows[None, :, None, None].expand(batch, -1, height, width), weight)
    return moved.to(maps.dtype)


FORMS: dict[str, Form | None] = {
    "none": None,
    "rows copied (ours)": translate,
    "grid per channel": one_grid_per_channel,
    "banded products": banded_products,
    "four gathers": four_gathers,
    "deform_conv2d": equal_windows,
}


class Module(nn.Module):
    """A feature shifting module around any form of the shift."""

    def __init__(self, form: Form | None, channels: int, shift_channels: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.form = form
        self.reduce, self.gate = nn.Conv2d(channels, shift_channels, 1), nn.Conv2d(channels, shift_channels, 1)
        self.expand = nn.Conv2d(shift_channels, channels, 1)
        self.offsets = nn.Parameter(torch.randn(shift_channels, 2) * 4)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, maps: Tensor) -> Tensor:
        shifted = self.reduce(maps) if self.form is None else self.form(self.reduce(maps), self.offsets)
        return F.relu(self.norm(maps + self.expand(shifted * self.gate(maps).sigmoid())))


def measure(form: Form | None, maps: Tensor, shift_channels: int, repeats: int, autocast: bool) -> tuple[float, int]:
    """Least CPU seconds of a forward and backward pass, and bytes kept between them, parameters left out."""
    module = Module(form, maps.shape[1], shift_channels)
    own = {parameter.untyped_storage().data_ptr() for parameter in module.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    times = []
    for _ in range(repeats):
        kept.clear()
        start = time.process_time()
        with (
            torch.autocast("cpu", torch.bfloat16, enabled=autocast),
            saved_tensors_hooks(note, lambda tensor: tensor),
        ):
            loss = module(maps).float().square().mean()
        loss.backward()
        times.append(time.process_time() - start)
    return min(times), sum(kept.values())


CHOSEN = ("rows copied (ours)", "grid per channel", "deform_conv2d", "none")
"""Columns of a line, in its order: ours, naive, peer, limit."""


def shift_line(setting: Setting, maps: Tensor) -> Line:
    """The shift of ``maps`` by itself, forward and backward."""
    offsets = (torch.randn(maps.shape[1], 2, generator=torch.Generator().manual_seed(0)) * 4).to(maps.device)
    offsets.requires_grad_()
    gradient = torch.ones_like(maps)

    def step(form: Form) -> None:
        torch.autograd.grad(form(maps, offsets), (maps, offsets), gradient, allow_unused=True)

    forms: dict[str, Form] = {name: FORMS[name] or _copy for name in CHOSEN}
    times = setting.race({name: partial(step, form) for name, form in forms.items()}, repeats=5)
    note = (
        "the shift alone; naive: grid_sample with the channels as its batch; peer: deform_conv2d of equal window "
        "positions, 1×1 a channel; limit: one copy each way"
    )
    ours, naive, peer, limit = (times[name] for name in CHOSEN)
    why = "it moves memory, and what that costs depends on whether its pages are new"
    return Line("SSN shift, forward + backward", ours, naive, peer, limit, asked=1.5, note=note, why_behind=why)


def _copy(maps: Tensor, offsets: Tensor) -> Tensor:
    return maps.clone()


def lines(
    setting: Setting, batch: int = 2, channels: int = 256, shift_channels: int = 512, side: int = 64
) -> list[Line]:
    """The shift's forward and backward pass, those of a module around it, and the bytes the module keeps between."""
    keep_freed_memory()  # else new pages for 13 MB take as long as to fill them, in some rounds and not in others
    maps = torch.rand(batch, channels, side, side * 3 // 4, device=setting.device, requires_grad=True)
    modules = {name: Module(FORMS[name], channels, shift_channels).to(setting.device) for name in CHOSEN}

    def step(module: Module) -> None:
        with setting.autocast():
            loss = module(maps).float().square().mean()
        loss.backward()

    reduced = torch.rand(batch, shift_channels, *maps.shape[2:], device=setting.device, requires_grad=True)
    alone = shift_line(setting, reduced)
    times = setting.race({name: partial(step, module) for name, module in modules.items()}, repeats=3)
    kept = {
        name: measure(FORMS[name], maps.detach()[:1].cpu().requires_grad_(), shift_channels, 1, False)[1] / 1e6
        for name in CHOSEN
    }
    (ours, naive, peer, limit), (little, much, theirs, least) = ([of[each] for each in CHOSEN] for of in (times, kept))
    note = (
        "columns as above, with three 1×1 convolutions, attention and norm around; limit: the module without any "
        f"shift, so no shift gains more than {naive / limit:.2f}×"
    )
    memory = "kept for the backward pass, fp32, one picture; columns as above"
    name = "SSN feature shifting module"
    return [
        alone,
        Line(f"{name}, forward + backward", ours, naive, peer, limit, asked=1.0, note=note),
        Line(f"{name}, memory", little, much, theirs, least, unit="MB", asked=1.0, note=memory),
    ]


def main(batch: int = 4, channels: int = 256, shift_channels: int = 512, side: int = 64, repeats: int = 4) -> None:
    torch.set_num_threads(1)
    maps = torch.rand(batch, channels, side, side * 3 // 4, requires_grad=True)
    print(f"{'':>22}{'fp32, ms':>10}{'kept, MB':>10}{'bf16, ms':>10}{'kept, MB':>10}")
    for name, form in FORMS.items():
        cells = [measure(form, maps, shift_channels, repeats, autocast) for autocast in (False, True)]
        print(f"{name:>22}" + "".join(f"{1e3 * seconds:10.0f}{kept / 1e6:10.0f}" for seconds, kept in cells))


if __name__ == "__main__":
    main()
