"""The types that cross a wall, and the one coordinate rule.

Coordinate rule
---------------
Coordinates are continuous: pixel ``i`` covers ``[i, i + 1)`` and its centre lies at ``i + 0.5``. An image of width
``W`` spans ``[0, W]``; its mirror image maps ``x`` to ``W - x``; scaling by ``s`` maps ``x`` to ``s * x``.
COCO stores keypoints as pixel *indices*: ``datamodules.annotations`` adds 0.5 when it reads them and
``datamodules.evaluator`` takes it off when it writes results. Boxes are continuous in COCO already.
A paper that assumes another frame converts in its ``targets.py`` **and** its ``decode.py``, nowhere else.

Letters
-------
B batch, P persons (padded to the batch maximum), Q predicted persons, K keypoints, H and W input height and width
with padding. The types are ``NamedTuple``s, so collation, pinning, device transfer and ``torch.compile`` take them as
they are.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Persons(NamedTuple):
    """Annotated people of a batch, in input pixels. A person crop has P = 1.

    People without labelled keypoints stay in (``visibility`` all 0): their boxes matter to detectors.
    Crowd regions are never persons; they lie in ``PoseBatch.ignore``.
    """

    keypoints: Tensor
    """f32 [B, P, K, 2], x and y; zero where ``visibility`` is 0."""
    visibility: Tensor
    """u8 [B, P, K]: 0 not labelled (or outside the input), 1 labelled but hidden, 2 visible. Person crops under
    ``data.joints_outside=keep`` have labelled keypoints outside the input too; see ``labelled_inside``."""
    boxes: Tensor
    """f32 [B, P, 4], x0 y0 x1 y1, clipped to the input without padding."""
    areas: Tensor
    """f32 [B, P], COCO's segment area in input pixels squared (scaled with the image)."""
    is_real: Tensor
    """bool [B, P], False on padding."""


class Meta(NamedTuple):
    """Where each sample comes from and the way back to it."""

    sample_id: Tensor
    """i64 [B], unique per sample of a split; the evaluator drops repeats by it."""
    image_id: Tensor
    """i64 [B], COCO's image id; several crops share one."""
    original_hw: Tensor
    """i64 [B, 2], height and width of the photograph."""
    input_hw: Tensor
    """i64 [B, 2], height and width of the sample without padding, which lies right and below."""
    to_original: Tensor
    """f32 [B, 2, 3], affine map from input pixels to the photograph's pixels."""
    detection_score: Tensor
    """f32 [B], score of the box a crop was cut from; 1 for a whole image or a ground-truth box."""


class PoseBatch(NamedTuple):
    """What the datamodule hands to a module."""

    images: Tensor
    """u8 [B, 3, H, W], RGB; f32 and normalised once it is on the device. Padding is 0 after normalisation."""
    persons: Persons
    ignore: Tensor
    """bool [B, ceil(H / 4), ceil(W / 4)]: True where nothing is learnt: crowds, people without keypoints, padding."""
    instance_masks: Tensor | None
    """bool [B, P, ceil(H / 4), ceil(W / 4)] where the paper asks for it, else None."""
    meta: Meta


class Predictions(NamedTuple):
    """What a module says about a batch, in the photographs' pixels."""

    keypoints: Tensor
    """f32 [B, Q, K, 3]: x, y, score; 0 0 0 where a joint was not found."""
    scores: Tensor
    """f32 [B, Q], score of the person."""
    is_valid: Tensor
    """bool [B, Q], False on padding."""
    sample_id: Tensor
    """i64 [B]."""
    image_id: Tensor
    """i64 [B]."""
    boxes: Tensor | None = None
    """f32 [B, Q, 4], x0 y0 x1 y1, where the paper predicts them."""
    masks: tuple[tuple[Tensor, ...], ...] | None = None
    """bool [h, w] per image and person at the photograph's size, where the paper predicts them."""
    areas: Tensor | None = None
    """f32 [B, Q], square pixels: a person's size where duplicates are sought by OKS; None takes the boxes', else the
    keypoints' extent."""


def labelled_inside(batch: PoseBatch) -> Tensor:
    """Labelled keypoints of real people that lie inside their input without padding: bool [B, P, K]."""
    persons, limit = batch.persons, batch.meta.input_hw.flip(-1)[:, None, None]
    is_inside = ((persons.keypoints >= 0) & (persons.keypoints < limit)).all(-1)
    return (persons.visibility > 0) & persons.is_real[..., None] & is_inside


def last_stage(predictions: Predictions | dict[str, Predictions]) -> Predictions:
    """A module's answer: its ``Predictions``, or the last of those its stages give by name."""
    return predictions if isinstance(predictions, Predictions) else list(predictions.values())[-1]
