"""Follows a module with ``torch.export``, writes it in a format, and compares what the file says with PyTorch."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import torch

    from experiments.checkpoint import Trained
    from lightning_modules.shared.exportable import Exportable

Run = Callable[["torch.Tensor"], list["torch.Tensor"]]
"""Images -> outputs, by the exported file."""
_LARGEST = 128
"""H and W may be up to this many times the multiple."""


class ExportError(ValueError):
    """What cannot be exported, and why; one line."""


class Exported(NamedTuple):
    exportable: Exportable
    about: dict[str, Any]
    """What stands in the file."""
    run: Run
    given_up: list[str]
    """Fuller graphs that could not be exported, with the reason."""


class Difference(NamedTuple):
    shape: tuple[int, ...]
    """Of the images."""
    output: str
    difference: float
    """max |exported - PyTorch| / max(1, max |PyTorch|)."""


def require_onnx() -> None:
    """Raises:
    ExportError: a package is missing.
    """
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise ExportError(f"ONNX needs {', '.join(missing)}: pip install 'pose-papers[export]'")


def export(trained: Trained, kind: str, out: Path, *, network_only: bool = False) -> Exported:
    """Write the fullest graph of a paper that can be exported as ``kind`` (``onnx`` or ``torch``) to ``out``.

    Raises:
        ExportError: the paper has none.
    """
    from lightning_modules.papers import load

    paper = trained.config.paper
    try:
        found = load(f"lightning_modules.{paper}.export:exportables")(trained.module)
    except ModuleNotFoundError as error:
        raise ExportError(f"{paper} has no graph to export") from error
    given_up: list[str] = []
    for exportable in found[-1:] if network_only else found:
        about = describe(trained, exportable)
        try:
            with _silence():
                program = follow(exportable)
                WRITERS[kind](program, about, out)
            return Exported(exportable, about, RUNNERS[kind](out), given_up)
        except OSError:
            raise
        except Exception as error:  # what cannot be followed or converted is told in many ways
            given_up.append(f"not exported: {exportable.about} ({_reason(error)})")
    raise ExportError(f"{paper} cannot be exported: {given_up[-1]}")


def follow(exportable: Exportable) -> torch.export.ExportedProgram:
    """The module as a graph whose batch, height and width are dynamic."""
    import torch

    from experiments.exporting.static_padding import with_static_padding

    sizes = {axis: exportable.multiple * _dim(name, exportable) for axis, name in ((2, "height"), (3, "width"))}
    shapes = ({0: torch.export.Dim("batch", min=1, max=4096), **sizes},)
    images = images_for(exportable, 2, 1, 0)
    with torch.no_grad():
        module = with_static_padding(exportable.module.eval())
        return torch.export.export(
            module,
            (images,),
            dynamic_shapes=shapes,
            strict=False,
            # torch 2.11 cannot prove min(B, 32 B) = B, and would take it for a restriction of the batch
            prefer_deferred_runtime_asserts_over_guards=True,
        )


def describe(trained: Trained, exportable: Exportable) -> dict[str, Any]:
    """What a user of the file must know, plain."""
    data = trained.config.data
    return {
        "paper": trained.config.paper,
        "graph": exportable.about,
        "input": "images f32 [B, 3, H, W], RGB, (pixel / 255 - mean) / std, 0 on padding",
        "multiple": exportable.multiple,
        "mean": data.mean,
        "std": data.std,
        "outputs": exportable.outputs,
        "joints": list(trained.skeleton.joints),
    }


def write_onnx(program: torch.export.ExportedProgram, about: dict[str, Any], out: Path) -> None:
    """One file with the weights inside; ``about`` in its metadata."""
    import torch

    names = list(about["outputs"])
    converted = torch.onnx.export(program, input_names=["images"], output_names=names, dynamo=True, verbose=False)
    assert converted is not None
    converted.model.metadata_props.update({key: json.dumps(value) for key, value in about.items()})
    out.parent.mkdir(parents=True, exist_ok=True)
    converted.save(str(out), external_data=False)


def run_onnx(file: Path) -> Run:
    import onnxruntime
    import torch

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(file), settings, providers=["CPUExecutionProvider"])

    def run(images: torch.Tensor) -> list[torch.Tensor]:
        return [torch.from_numpy(value) for value in session.run(None, {"images": images.numpy()})]

    return run


def write_torch(program: torch.export.ExportedProgram, about: dict[str, Any], out: Path) -> None:
    """``torch.export.save``; ``about`` in the extra file ``about.json``."""
    import torch

    out.parent.mkdir(parents=True, exist_ok=True)
    torch.export.save(program, out, extra_files={"about.json": json.dumps(about)})


def run_torch(file: Path) -> Run:
    import torch

    module = torch.export.load(file).module()

    def run(images: torch.Tensor) -> list[torch.Tensor]:
        return list(module(images))

    return run


WRITERS: dict[str, Callable[[Any, dict[str, Any], Path], None]] = {"onnx": write_onnx, "torch": write_torch}
RUNNERS: dict[str, Callable[[Path], Run]] = {"onnx": run_onnx, "torch": run_torch}


def parity(exportable: Exportable, run: Run) -> list[Difference]:
    """Every output at three batches and sizes, none of them the one that was followed."""
    import torch

    rows = []
    for batch, step, seed in ((1, 0, 1), (3, 1, 2), (2, 2, 3)):
        images = images_for(exportable, batch, step, seed)
        with torch.no_grad():
            expected, found = exportable.module(images), run(images)
        for name, theirs, ours in zip(exportable.outputs, expected, found, strict=True):
            scale = max(1.0, float(theirs.abs().max()))
            off = float((ours.double() - theirs.double()).abs().max()) if ours.shape == theirs.shape else float("inf")
            rows.append(Difference(tuple(images.shape), name, off / scale))
    return rows


def images_for(exportable: Exportable, batch: int, step: int, seed: int) -> torch.Tensor:
    """Noise f32 [batch, 3, H, W] of the least size and ``step`` steps more, W one step more than H."""
    import torch

    height, width = (exportable.multiple * (exportable.least + step + more) for more in (0, 1))
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 3, height, width, generator=generator)


def _reason(error: BaseException) -> str:
    """The first line of what an error goes back to."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:160]}"


def _dim(name: str, exportable: Exportable) -> Any:
    import torch

    return torch.export.Dim(f"{name}_{exportable.multiple}", min=exportable.least, max=_LARGEST)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Converters write to the standard streams and logs what is of use to their authors."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
