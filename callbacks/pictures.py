"""A handful of validation images after every evaluation: truth beside prediction."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytorch_lightning as pl
import torch

from datamodules.contact_sheet import contact_sheet
from datamodules.contracts import PoseBatch, Predictions, last_stage
from datamodules.drawing import draw_people
from datamodules.skeleton import Skeleton

_UNSURE_KEYPOINT = 0.2
"""Keypoints that score less than this times the person's best, as those outside of the image do, are not drawn."""
_CELL = 640
"""Longest side of an image on the sheet, pixels: an input of 800×1333 is shrunk to half before it is drawn on."""


class Pictures(pl.Callback):
    """Writes ``step_<n>.jpg`` after each evaluation in training and ``best.jpg`` after one on its own,
    or when ``name_best`` is called.

    The images are always the same: the first of the validation set, as rank 0 sees it, that show a labelled person.
    Predictions are drawn on the network's input, without padding, at most 640 pixels a side; small inputs are enlarged.

    Args:
        directory: of the files; made when the first is written.
        count: images per sheet; 0 turns the callback off.
        relative_score: people who score less than this times the image's best are not drawn, so that the sheet is as
            readable early in training as late. Scores above 1 are sums, which grow with the number of joints: then the
            means of the joints that were found are compared.
    """

    def __init__(self, directory: Path, count: int, relative_score: float = 0.5) -> None:
        self.directory = directory
        self.count = count
        self.relative_score = relative_score
        self.last_file: Path | None = None
        self._cells: list[np.ndarray] = []
        self._captions: list[str] = []

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._cells, self._captions = [], []

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Predictions | dict[str, Predictions],  # type: ignore[override]  # what our modules return
        batch: PoseBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if not trainer.is_global_zero or len(self._cells) >= 2 * self.count:
            return
        data: Any = trainer.datamodule  # type: ignore[attr-defined]  # Lightning declares it nowhere
        labelled = (batch.persons.visibility > 0).any(-1).any(-1).tolist()
        for row, is_shown in enumerate(labelled):
            if is_shown and len(self._cells) < 2 * self.count:
                image = fit_cell(to_uint8(batch, row, data.config.mean, data.config.std))
                self._cells.append(draw_truth(image, batch, row, data.skeleton))
                self._cells.append(
                    draw_predictions(image, batch, last_stage(outputs), row, data.skeleton, self.relative_score)
                )
                self._captions += [f"image {int(batch.meta.image_id[row])}: truth", "prediction"]

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self._cells or trainer.sanity_checking:
            return
        name = f"step_{trainer.global_step:07d}.jpg" if trainer.training or trainer.state.fn == "fit" else "best.jpg"
        sheet = contact_sheet(self._cells, columns=2 * (1 + (self.count > 3)), captions=self._captions)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.last_file = self.directory / name
        write_jpeg(self.last_file, sheet)
        for logger in trainer.loggers:
            if hasattr(logger, "log_image"):
                step = max(trainer.global_step - 1, 0)  # as the figures
                logger.log_image("val/pictures", [str(self.last_file)], step=step)  # pixels would be sent as PNG
        self._cells, self._captions = [], []

    def name_best(self) -> None:
        """Copy the last sheet to ``best.jpg``: what it shows is the best checkpoint's."""
        if self.last_file is not None:
            self.last_file = Path(shutil.copyfile(self.last_file, self.directory / "best.jpg"))


def to_uint8(batch: PoseBatch, row: int, mean: list[float], std: list[float]) -> np.ndarray:
    """The sample's image without padding, u8 [h, w, 3], RGB, from a normalised or a raw batch."""
    height, width = batch.meta.input_hw[row].tolist()
    image = batch.images[row, :, :height, :width].detach().cpu()
    if image.is_floating_point():
        scale, shift = (torch.tensor(values)[:, None, None] for values in (std, mean))
        image = ((image.float() * scale + shift) * 255).round().clamp(0, 255).to(torch.uint8)
    return np.ascontiguousarray(image.permute(1, 2, 0).numpy())


def fit_cell(image: np.ndarray, least: int = 320, most: int = _CELL) -> np.ndarray:
    """A large image shrunk to ``most`` pixels, or a whole multiple of a small one, at least ``least``: longer sides."""
    side = max(image.shape[:2])
    if side > most:
        height, width = (max(1, round(length * most / side)) for length in image.shape[:2])
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    factor = -(-least // side)
    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC) if factor > 1 else image


def draw_truth(image: np.ndarray, batch: PoseBatch, row: int, skeleton: Skeleton) -> np.ndarray:
    """The annotated people of sample ``row`` over its image, which may be enlarged."""
    is_real = batch.persons.is_real[row]
    return draw_people(
        image,
        batch.persons.keypoints[row][is_real].float().cpu().numpy() * _scale(image, batch, row),
        batch.persons.visibility[row][is_real].cpu().numpy(),
        skeleton=skeleton,
    )


def draw_predictions(
    image: np.ndarray, batch: PoseBatch, predictions: Predictions, row: int, skeleton: Skeleton, relative_score: float
) -> np.ndarray:
    """The predicted people of sample ``row``, brought from the photograph back to the network's input."""
    scores = predictions.scores[row].float().masked_fill(~predictions.is_valid[row], -1.0)
    compared = scores
    if (scores > 1).any():
        joints = predictions.keypoints[row, ..., 2].float()
        compared = joints.sum(dim=-1) / (joints > 0).sum(dim=-1).clamp_min(1)
    chosen = predictions.is_valid[row]
    if chosen.any():
        chosen = chosen & (compared >= relative_score * compared[chosen].max())
    people = predictions.keypoints[row][chosen].detach().double().cpu().numpy()
    to_original = batch.meta.to_original[row].double().cpu().numpy()
    linear, offset = to_original[:, :2], to_original[:, 2]
    points = (people[..., :2] - offset) @ np.linalg.inv(linear).T * _scale(image, batch, row)
    best = people[..., 2:].max(axis=1, keepdims=True, initial=0.0)
    points = np.concatenate([points, people[..., 2:] / np.maximum(best, 1e-12)], axis=-1)
    return draw_people(
        image, points, skeleton=skeleton, scores=scores[chosen].cpu().numpy(), min_score=_UNSURE_KEYPOINT
    )


def _scale(image: np.ndarray, batch: PoseBatch, row: int) -> float:
    return image.shape[0] / int(batch.meta.input_hw[row, 0])


def write_jpeg(file: Path, image: np.ndarray) -> None:
    """``image`` u8 [H, W, 3], RGB.

    Raises:
        OSError: it cannot be written.
    """
    _, encoded = cv2.imencode(file.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 92])
    file.write_bytes(encoded.tobytes())
