"""The named parts of a network whose vital signs are measured (``callbacks.vitals``)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from torch import nn


class Part(NamedTuple):
    parameters: list[nn.Parameter]
    should_learn: bool = True
    """False for a part that takes no part in the loss yet, such as a module that joins later."""


def children_as_parts(module: nn.Module) -> dict[str, Part]:
    """A part for every direct child of ``module`` that has parameters, by the child's name."""
    return part_by_name(module.named_children())


def part_by_name(modules: Iterable[tuple[str, nn.Module | None]]) -> dict[str, Part]:
    """A part for every named module that has parameters; an absent module (None) has none."""
    parts = {name: Part(list(module.parameters())) for name, module in modules if module is not None}
    return {name: part for name, part in parts.items() if part.parameters}


def numbered(name: str, modules: Iterable[nn.Module]) -> list[tuple[str, nn.Module]]:
    """``name1``, ``name2``, … with the modules."""
    return [(f"{name}{number}", module) for number, module in enumerate(modules, start=1)]


def remaining(module: nn.Module, parts: dict[str, Part]) -> Part:
    """The parameters of ``module`` that no part of ``parts`` holds."""
    held = {id(parameter) for part in parts.values() for parameter in part.parameters}
    return Part([parameter for parameter in module.parameters() if id(parameter) not in held])
