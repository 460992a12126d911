"""Python and the packages of ``setup.cfg``: installed, recent enough, and as in ``requirements.lock``.

Imports the standard library alone, so that it answers where nothing is installed.
"""

from __future__ import annotations

import configparser
import platform
import re
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.checks.finding import Finding, State

if TYPE_CHECKING:
    from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
_PIN = re.compile(r"^([A-Za-z0-9_.\-]+)==([^ ;\\]+)(?: ; ([^\\]+))?")
_INSTALL = "make setup (or: pip install -e .)"


def python_version(required: str, running: str | None = None) -> Finding:
    """``required`` as in ``setup.cfg``'s ``python_requires``; ``running`` None is this interpreter."""
    from packaging.specifiers import SpecifierSet

    running = running or platform.python_version()
    if running in SpecifierSet(required):
        return Finding("Python", State.ok, running)
    fix = f"install a Python {required} and run: make setup PYTHON=python3.x"
    return Finding("Python", State.wrong, f"{running}, {required} is needed", fix)


def packages(requirements: list[str], pins: dict[str, str]) -> list[Finding]:
    """One finding per requirement. Another version than the pinned one is told, and is no fault."""
    from packaging.requirements import Requirement

    return [_package(Requirement(line), pins) for line in requirements]


def declared(file: Path = ROOT / "setup.cfg") -> tuple[str, list[str]]:
    """``python_requires`` and ``install_requires`` of ``setup.cfg``, or of the installed package where there is none.

    Raises:
        ValueError: neither is there.
    """
    parser = configparser.ConfigParser()
    if parser.read(file):
        options = parser["options"]
        return options["python_requires"], [line for line in options["install_requires"].splitlines() if line]
    try:
        described = metadata.metadata("pose-papers")["Requires-Python"]
        required = [line for line in metadata.requires("pose-papers") or [] if "extra ==" not in line]
    except metadata.PackageNotFoundError as error:
        raise ValueError(f"{file}: not there, and pose-papers is not installed; run it in the checkout") from error
    return described, required


def pinned(file: Path = ROOT / "requirements.lock") -> dict[str, str]:
    """Package -> version of a lock file, for this Python and system; empty where there is none."""
    from packaging.markers import Marker

    if not file.is_file():
        return {}
    found = (_PIN.match(line) for line in file.read_text().splitlines())
    return {
        _canonical(match[1]): match[2]
        for match in found
        if match and (match[3] is None or Marker(match[3].strip()).evaluate())
    }


def torch_and_torchvision() -> Finding:
    """Whether the two belong together: torchvision's own operators load only beside the torch they were built for."""
    name = "torchvision ops"
    try:
        import torch
        from torchvision.ops import nms

        kept = nms(torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 2]]), torch.tensor([0.1, 0.9]), 0.5).tolist()
    except (ImportError, RuntimeError, OSError) as error:
        return Finding(name, State.wrong, _first_line(error), f"install a pair that belongs together: {_INSTALL}")
    return Finding(name, State.ok if kept == [1] else State.wrong, "compiled for this torch")


def _package(required: Requirement, pins: dict[str, str]) -> Finding:
    try:
        version = metadata.version(required.name)
    except metadata.PackageNotFoundError:
        return Finding(required.name, State.wrong, f"not installed, {required} is needed", _INSTALL)
    if not required.specifier.contains(version, prereleases=True):
        return Finding(required.name, State.wrong, f"{version}, {required.specifier} is needed", _INSTALL)
    pin = pins.get(_canonical(required.name))
    if pin is not None and version.split("+")[0] != pin.split("+")[0]:
        fix = "make setup installs the versions the suite was tested with"
        return Finding(required.name, State.absent, f"{version}, tested with {pin}", fix)
    return Finding(required.name, State.ok, version)


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
