"""A checkpoint -> its people and COCO's figures, under a named protocol."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from callbacks.coco_evaluation import CocoEvaluation
from callbacks.interruption import keep_out_lightning
from callbacks.progress import ProgressLine
from datamodules.coco import CocoDataModule
from datamodules.result_files import write_whole
from experiments.checkpoint import Trained, checkpoint_file, load_trained, read_checkpoint
from experiments.command_line import make_folder
from experiments.config import to_plain
from experiments.evaluation.flip_and_scales import flip_override, scales_override
from experiments.evaluation.protocol import (
    check_images,
    check_protocol,
    conditions,
    find_protocol,
    protocol_name,
)
from experiments.evaluation.scoring import beside_published, submit, told_of
from lightning_modules.papers import PAPERS, load
from lightning_modules.shared.config import as_plain

Say = Callable[[str], None]


def load_for(
    source: Path, protocol: str | None, overrides: list[str], flip: str | None = None, scales: str | None = None
) -> Trained:
    """The checkpoint, its configuration set to the protocol.

    Raises:
        ConfigError: as ``load_trained`` and ``check_protocol``, or a test the paper does not have.
    """
    paper = read_checkpoint(checkpoint_file(source))["run"]["paper"]
    asked: list[str] = [*find_protocol(protocol).overrides] if protocol else []
    if paper in PAPERS:
        kind = load(PAPERS[paper].config)
        asked += [flip_override(paper, kind, flip)] if flip else []
        asked += [scales_override(paper, kind, scales)] if scales else []
        asked += ["model.decode.masks=false"] if protocol == "test-dev" and paper == "ssa" else []
    trained = load_trained(source, [*asked, *overrides])
    if protocol:
        check_protocol(protocol, trained.config)
    return trained


def evaluate_checkpoint(
    trained: Trained, protocol: str | None, out: Path | None, algorithm: str | None, say: Say
) -> dict[str, Any]:
    """Run the model over the protocol's images, save its people, score them (or, of test-dev, zip them).

    Files: ``predictions.json`` (COCO's result format, the answer), ``predictions-<stage>.json`` of the stages before,
    ``predictions-masks.json`` where there are masks, and ``predictions.protocol.json`` (``load_record``).

    Raises:
        ValueError: the data cannot be used, or are not those of the protocol.
    """
    config = trained.config
    data = CocoDataModule(config.data, trained.skeleton, config.seed)
    data.prepare_data()
    data.setup("validate")
    image_ids = data.val_image_ids
    if protocol:
        check_images(protocol, len(image_ids), config.data.root)
    name = protocol_name(config, len(image_ids))
    say(f"{config.paper} · {trained.file} · {len(image_ids)} images · {name}")
    folder = make_folder(out or _default_folder(trained.file, name))
    evaluation = run_model(trained, data)
    results = evaluation.results()
    *earlier, answer = results
    for stage in earlier:
        _write(folder / f"predictions-{stage}.json", results[stage])
    file = _write(folder / "predictions.json", results[answer])
    if masks := evaluation.mask_results():
        _write(folder / "predictions-masks.json", masks)
    record = {
        "paper": config.paper,
        "protocol": name,
        "conditions": conditions(config, len(image_ids))._asdict(),
        "checkpoint": str(trained.file.absolute()),
        "annotations": str(data.val_annotation_file.absolute()),
        "image_ids": image_ids if len(image_ids) < len(data.val_known_ids) else None,
        "skeleton": as_plain(trained.skeleton),
        "config": to_plain(config),
    }
    _write(folder / "predictions.protocol.json", record)
    report: dict[str, Any] = {**told_of(record), "images": len(image_ids), "predictions": str(file)}
    if config.data.val_split.startswith("test-"):
        archive = submit(results[answer], folder, algorithm or config.paper, set(image_ids), config.data.val_split)
        report["submission"] = str(archive)
        report["people"] = len(results[answer])
    else:
        report |= beside_published(evaluation.stages, config, conditions(config, len(image_ids)))
    return report


def run_model(trained: Trained, data: CocoDataModule, predictions_file: Path | None = None) -> CocoEvaluation:
    """One pass over the validation samples on one device, in the run's precision and layout.

    The callback holds figures and people.
    """
    import pytorch_lightning as pl
    import torch

    options = trained.config.trainer
    if options.channels_last:
        cast(Any, trained.module.network).to(memory_format=torch.channels_last)
    evaluation = CocoEvaluation(predictions_file, trained.config.evaluation.backend)
    trainer = pl.Trainer(
        accelerator=options.accelerator.value,
        devices=1,
        precision=cast(Any, options.precision),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[evaluation, ProgressLine()],
    )
    keep_out_lightning(trainer)
    trainer.validate(trained.module, datamodule=data, verbose=False)
    return evaluation


def _default_folder(checkpoint: Path, protocol: str) -> Path:
    name = protocol if checkpoint.stem == "best" else f"{checkpoint.stem}-{protocol}"
    return checkpoint.parent / "evaluations" / name


def _write(file: Path, content: Any) -> Path:
    write_whole(file, json.dumps(content))
    return file
