"""Other people's functions beside ours, where their packages are installed: ``make bench-peers`` has them."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True)
class Other(Generic[Result]):
    package: str
    make: Callable[[], Callable[[], Result]]
    """Imports it."""


def tried(others: Mapping[str, Other[Result]]) -> tuple[dict[str, Callable[[], Result]], list[str]]:
    """Those of ``others`` that run here, each run once, and a phrase on each that does not."""
    found: dict[str, Callable[[], Result]] = {}
    missing: list[str] = []
    for name, other in others.items():
        if find_spec(other.package) is None:
            missing.append(f"{name} not installed")
            continue
        try:
            with redirect_stdout(sys.stderr), warnings.catch_warnings():  # some greet, most warn
                warnings.simplefilter("ignore")
                run = other.make()
                run()
        except Exception as error:  # other people's code beside versions it was not made for
            missing.append(f"{name} does not run here ({type(error).__name__})")
        else:
            found[name] = run
    return found, missing


def file_of_package(package: str, file: str) -> Any:
    """One module of a package by itself, where what lies around it asks for more than it uses."""
    (folder,) = __import__(package).__path__
    spec = spec_from_file_location(f"{package}_{Path(file).stem}", Path(folder, file))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
