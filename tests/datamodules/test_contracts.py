"""The batch types must pass through what Lightning and torch do to a batch."""

import torch
from lightning_fabric.utilities import move_data_to_device
from torch.utils.data import default_collate

from datamodules.contracts import Meta, Persons, PoseBatch, Predictions


def a_batch(masks: bool) -> PoseBatch:
    return PoseBatch(
        images=torch.zeros(2, 3, 8, 8, dtype=torch.uint8),
        persons=Persons(
            keypoints=torch.ones(2, 1, 17, 2),
            visibility=torch.full((2, 1, 17), 2, dtype=torch.uint8),
            boxes=torch.ones(2, 1, 4),
            areas=torch.ones(2, 1),
            is_real=torch.ones(2, 1, dtype=torch.bool),
        ),
        ignore=torch.zeros(2, 2, 2, dtype=torch.bool),
        instance_masks=torch.zeros(2, 1, 2, 2, dtype=torch.bool) if masks else None,
        meta=Meta(
            sample_id=torch.arange(2),
            image_id=torch.arange(2),
            original_hw=torch.full((2, 2), 8),
            input_hw=torch.full((2, 2), 8),
            to_original=torch.eye(2, 3).repeat(2, 1, 1),
            detection_score=torch.ones(2),
        ),
    )


def test_device_transfer_keeps_types_and_optional_fields() -> None:
    for masks in (False, True):
        moved = move_data_to_device(a_batch(masks), torch.device("cpu"))
        assert isinstance(moved, PoseBatch)
        assert isinstance(moved.persons, Persons)
        assert isinstance(moved.meta, Meta)
        assert (moved.instance_masks is not None) == masks
        assert moved.persons.visibility.dtype == torch.uint8


def test_default_collate_stacks_fields() -> None:
    meta = a_batch(False).meta
    stacked = default_collate([Meta(*(field[0] for field in meta)), Meta(*(field[1] for field in meta))])
    assert isinstance(stacked, Meta)
    assert all(torch.equal(a, b) for a, b in zip(stacked, meta, strict=True))


def test_a_compiled_function_takes_a_batch_whole() -> None:
    @torch.compile(backend="eager", fullgraph=True)
    def visible(batch: PoseBatch) -> torch.Tensor:
        return (batch.persons.visibility > 0).sum() + batch.images.sum()

    assert visible(a_batch(False)) == 34


def test_predictions_need_neither_boxes_nor_masks() -> None:
    predictions = Predictions(
        torch.zeros(1, 0, 17, 3), torch.zeros(1, 0), torch.zeros(1, 0).bool(), torch.tensor([1]), torch.tensor([1])
    )
    assert predictions.boxes is None
    assert predictions.masks is None
