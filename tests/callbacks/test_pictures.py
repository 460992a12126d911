"""Truth beside prediction, drawn where both lie in the network's input."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from callbacks.pictures import Pictures, draw_predictions, draw_truth, fit_cell, to_uint8
from datamodules.contracts import Meta, Persons, PoseBatch, Predictions
from datamodules.skeleton import COCO

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


@pytest.fixture
def batch() -> PoseBatch:
    """Two grey images of 48×64 padded to 64×64, one person in the second; the photographs are twice as large."""
    raw = torch.full((2, 3, 64, 64), 128 / 255)
    images = (raw - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    points = torch.rand(1, 17, 2, generator=torch.Generator().manual_seed(0)) * 30 + 10
    keypoints, visibility = torch.zeros(2, 1, 17, 2), torch.zeros(2, 1, 17, dtype=torch.uint8)
    keypoints[1], visibility[1] = points, 2
    persons = Persons(keypoints, visibility, torch.zeros(2, 1, 4), torch.ones(2, 1), torch.tensor([[False], [True]]))
    to_original = torch.tensor([[2.0, 0.0, 6.0], [0.0, 2.0, -4.0]]).expand(2, 2, 3)
    size = torch.tensor([[48, 64]] * 2)
    meta = Meta(torch.tensor([3, 4]), torch.tensor([30, 40]), 2 * size, size, to_original, torch.ones(2))
    return PoseBatch(images, persons, torch.zeros(2, 16, 16, dtype=torch.bool), None, meta)


def predict_truth(batch: PoseBatch) -> Predictions:
    original = batch.persons.keypoints * 2 + torch.tensor([6.0, -4.0])
    keypoints = torch.cat([original, torch.ones(2, 1, 17, 1)], -1)
    scores = torch.full((2, 1), 0.9)
    return Predictions(keypoints, scores, batch.persons.is_real, batch.meta.sample_id, batch.meta.image_id)


def test_the_image_comes_back_without_padding(batch: PoseBatch) -> None:
    image = to_uint8(batch, 1, MEAN, STD)
    assert image.shape == (48, 64, 3)
    assert np.unique(image).tolist() == [128]


def test_a_perfect_prediction_is_drawn_over_the_truth(batch: PoseBatch) -> None:
    image = to_uint8(batch, 1, MEAN, STD)
    truth = draw_truth(image, batch, 1, COCO)
    changed = np.any(truth != image, axis=-1)
    predicted = draw_predictions(image, batch, predict_truth(batch), 1, COCO, 0.5)
    assert changed.sum() > 100
    assert np.array_equal(np.any(predicted != image, axis=-1) & changed, changed)


def test_keypoints_far_below_the_persons_best_are_left_out(batch: PoseBatch) -> None:
    image = to_uint8(batch, 1, MEAN, STD)
    unsure = predict_truth(batch)
    whole = draw_predictions(image, batch, unsure, 1, COCO, 0.5)
    unsure.keypoints[..., 3:, 2] = 0.1
    face = draw_predictions(image, batch, unsure, 1, COCO, 0.5)
    assert 0 < np.any(face != image, axis=-1).sum() < np.any(whole != image, axis=-1).sum() - 100


def test_people_far_below_the_best_are_left_out(batch: PoseBatch) -> None:
    image = to_uint8(batch, 1, MEAN, STD)
    alone = predict_truth(batch)
    both = Predictions(
        keypoints=torch.cat([alone.keypoints, alone.keypoints.flip(-2)], 1),
        scores=torch.tensor([[0.1, 0.01], [0.1, 0.04]]),
        is_valid=alone.is_valid.expand(2, 2),
        sample_id=alone.sample_id,
        image_id=alone.image_id,
    )
    alone = alone._replace(scores=both.scores[:, :1])
    drawn = draw_predictions(image, batch, alone, 1, COCO, 0.5)
    assert np.array_equal(draw_predictions(image, batch, both, 1, COCO, 0.5), drawn)
    assert not np.array_equal(draw_predictions(image, batch, both, 1, COCO, 0.3), drawn)
    nobody = both._replace(is_valid=torch.zeros(2, 2, dtype=torch.bool))
    assert np.array_equal(draw_predictions(image, batch, nobody, 1, COCO, 0.5), image)
    none = Predictions(torch.zeros(2, 0, 17, 3), torch.zeros(2, 0), torch.zeros(2, 0).bool(), *alone[3:5])
    assert np.array_equal(draw_predictions(image, batch, none, 1, COCO, 0.5), image)


def test_sums_do_not_hide_people_of_few_joints(batch: PoseBatch) -> None:
    image = to_uint8(batch, 1, MEAN, STD)
    whole = predict_truth(batch)
    few = whole.keypoints.flip(-2).clone()
    few[..., 4:, :] = 0
    both = Predictions(
        keypoints=torch.cat([whole.keypoints, few], 1),
        scores=torch.tensor([[200.0, 11.0], [200.0, 11.0]]),
        is_valid=whole.is_valid.expand(2, 2),
        sample_id=whole.sample_id,
        image_id=whole.image_id,
    )
    one = both._replace(is_valid=torch.tensor([[True, False], [True, False]]))
    assert not np.array_equal(
        draw_predictions(image, batch, both, 1, COCO, 0.5), draw_predictions(image, batch, one, 1, COCO, 0.5)
    )


def test_a_small_image_is_enlarged_with_its_people(batch: PoseBatch) -> None:
    image = fit_cell(to_uint8(batch, 1, MEAN, STD))
    assert image.shape == (240, 320, 3)
    assert fit_cell(image) is image
    drawn = np.any(draw_truth(image, batch, 1, COCO) != image, axis=-1)
    rows, columns = np.nonzero(drawn)
    points = batch.persons.keypoints[1, 0].numpy() * 5
    assert abs(columns.mean() - points[:, 0].mean()) < 15
    assert abs(rows.mean() - points[:, 1].mean()) < 15
    assert columns.max() > 190


def test_a_large_image_is_shrunk_to_640_pixels() -> None:
    image = fit_cell(np.full((800, 1333, 3), 90, np.uint8))
    assert image.shape == (384, 640, 3)
    assert np.unique(image).tolist() == [90]
    assert fit_cell(image) is image
    assert fit_cell(np.zeros((1333, 1, 3), np.uint8)).shape == (640, 1, 3)


def test_one_sheet_per_evaluation_of_images_with_people(batch: PoseBatch, tmp_path: Path) -> None:
    shown: list[Any] = []
    logger = SimpleNamespace(log_image=lambda key, images, step: shown.append((key, images, step)))
    data = SimpleNamespace(config=SimpleNamespace(mean=MEAN, std=STD), skeleton=COCO)
    trainer: Any = SimpleNamespace(
        is_global_zero=True,
        datamodule=data,
        sanity_checking=False,
        global_step=12,
        training=False,
        loggers=[logger],
        state=SimpleNamespace(fn="fit"),
    )
    module: Any = None
    pictures = Pictures(tmp_path / "pictures", count=3)
    for fn, name in (("fit", "step_0000012.jpg"), ("validate", "best.jpg")):
        trainer.state.fn = fn
        pictures.on_validation_epoch_start(trainer, module)
        for index in range(5):
            pictures.on_validation_batch_end(trainer, module, predict_truth(batch), batch, index)
        pictures.on_validation_epoch_end(trainer, module)
        assert pictures.last_file == tmp_path / "pictures" / name
    sheet = cv2.imread(str(tmp_path / "pictures" / "best.jpg"))
    assert sheet.shape[1] == 2 * (320 + 4) + 4
    assert sheet.shape[0] > 3 * 240
    files = [str(tmp_path / "pictures" / name) for name in ("step_0000012.jpg", "best.jpg")]  # JPEG, not pixels
    assert shown == [
        ("val/pictures", [file], 11) for file in files
    ]  # the index of the last step, as Lightning logs the figures

    none = Pictures(tmp_path / "none", count=0)
    none.on_validation_epoch_start(trainer, module)
    none.on_validation_batch_end(trainer, module, predict_truth(batch), batch, 0)
    none.on_validation_epoch_end(trainer, module)
    assert not (tmp_path / "none").exists()
