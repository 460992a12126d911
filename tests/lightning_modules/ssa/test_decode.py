import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from datamodules.contracts import Meta
from datamodules.skeleton import COCO
from lightning_modules.ssa.attention import QueryKey
from lightning_modules.ssa.config import Association, DecodeConfig, Grouping, Matching
from lightning_modules.ssa.decode import Decoder, People, photograph_masks, to_predictions
from lightning_modules.ssa.network import Output
from lightning_modules.ssa.peaks import find_peaks
from lightning_modules.ssa.targets import Targets, draw_heatmaps, ideal_rows, token_cells

GRID, INPUT = (12, 16), (192, 256)


def people_in_a_row(count: int) -> tuple[Tensor, Targets]:
    """Upright bars of 32 × 160 pixels with 16 pixels between them; two columns of joints, none in another's cell."""
    left = 48.0 * torch.arange(count)
    x = torch.where(torch.arange(17) % 2 == 0, 8.0, 24.0)
    y = 24.0 + 9 * torch.arange(17)
    keypoints = torch.stack([left[:, None] + x, y.expand(count, -1)], dim=2)[None]
    masks = torch.zeros(1, count, 48, 64, dtype=torch.bool)
    for person in range(count):
        masks[0, person, 4:46, 12 * person : 12 * person + 8] = True
    is_labelled = torch.ones(1, count, 17, dtype=torch.bool)
    return keypoints, Targets(
        heatmap_s4=draw_heatmaps(keypoints, is_labelled, (48, 64), sigma=2.0),
        ignore=torch.zeros(1, 48, 64, dtype=torch.bool),
        cells=token_cells(keypoints, GRID, INPUT),
        is_labelled=is_labelled,
        masks=masks,
    )


def decode_ideal(targets: Targets, config: DecodeConfig) -> list[People]:
    peaks = find_peaks(targets.heatmap_s4, window=7, threshold=0.0025, max_candidates=30)
    cells = token_cells(peaks.points, GRID, INPUT)
    return Decoder(config, COCO).people_of(peaks, cells, ideal_rows(targets, cells.flatten(1), GRID), GRID)


def meta(to_original: Tensor, hw: tuple[int, int]) -> Meta:
    ids = torch.tensor([7])
    return Meta(ids, ids + 1, torch.tensor([hw]), torch.tensor([INPUT]), to_original[None], torch.ones(1))


@pytest.mark.parametrize("grouping", list(Grouping))
@pytest.mark.parametrize("matching", list(Matching))
@pytest.mark.parametrize("count", [1, 2, 5])
def test_targets_decode_to_the_people_they_were_made_of(grouping: Grouping, matching: Matching, count: int) -> None:
    keypoints, targets = people_in_a_row(count)
    config = DecodeConfig(grouping=grouping, matching=matching)
    to_original = torch.tensor([[2.0, 0.0, -10.0], [0.0, 2.0, -20.0]])
    predictions = to_predictions(decode_ideal(targets, config), meta(to_original, (350, 490)), INPUT, config)
    assert predictions.is_valid.tolist() == [[True] * count]
    order = predictions.keypoints[0, :, 0, 0].argsort()
    expected = 2 * keypoints[0] - torch.tensor([10.0, 20.0])
    assert (predictions.keypoints[0, order, :, :2] - expected).abs().max() <= 4  # half a heatmap cell, photograph
    torch.testing.assert_close(predictions.scores, torch.ones(1, count))
    assert predictions.masks is not None
    for person, mask in enumerate(predictions.masks[0][int(i)] for i in order):
        assert mask.shape == (350, 490)
        true = torch.zeros(350, 490, dtype=torch.bool)
        true[2 * 16 - 20 : 2 * 184 - 20, max(96 * person - 10, 0) : 96 * person + 54] = True
        assert (mask & true).sum() / (mask | true).sum() > 0.8


@pytest.mark.parametrize("association", list(Association))
def test_nobody_gives_no_predictions(association: Association) -> None:
    layer = QueryKey(torch.zeros(2, 1, 192, 4), torch.zeros(2, 1, 192, 4))
    output = Output(torch.zeros(2, 17, 48, 64), layer, (layer, layer), GRID)
    config = DecodeConfig(association=association)
    people = Decoder(config, COCO)(output, torch.tensor([INPUT, INPUT]))
    assert [len(person.scores) for person in people] == [0, 0]
    one = meta(torch.eye(3)[:2], (20, 30))
    where = Meta(*(torch.cat([part, part]) for part in one))
    predictions = to_predictions(people, where, INPUT, config)
    assert predictions.keypoints.shape == (2, 0, 17, 3)
    assert predictions.masks == ((), ())


def test_association_reads_the_layer_it_names() -> None:
    torch.manual_seed(0)
    _, targets = people_in_a_row(3)
    tokens = torch.arange(192)
    person = (tokens % 16) // 3
    instance_aware = F.one_hot(person, 6).float()[None, None] * 40  # everybody attends to their own columns
    constant = torch.zeros_like(instance_aware)
    supervised = QueryKey(instance_aware, instance_aware)
    blind = QueryKey(constant, constant)
    output = Output(targets.heatmap_s4, supervised, (blind, blind), GRID)
    whole, naive = torch.tensor([INPUT]), DecodeConfig(association=Association.naive)
    assert len(Decoder(DecodeConfig(), COCO)(output, whole)[0].scores) == 3
    assert len(Decoder(naive, COCO)(output, whole)[0].scores) == 1  # merged into one
    without_the_third = torch.tensor([[192, 96]])
    assert len(Decoder(DecodeConfig(), COCO)(output, without_the_third)[0].scores) == 2


def test_batch_equals_single_images_and_the_number_of_people_is_limited() -> None:
    _, few = people_in_a_row(2)
    _, many = people_in_a_row(5)
    config = DecodeConfig(max_persons=3)
    peaks = [find_peaks(t.heatmap_s4, window=7, threshold=0.0025, max_candidates=30) for t in (few, many)]
    cells = [token_cells(p.points, GRID, INPUT) for p in peaks]
    rows = [ideal_rows(t, c.flatten(1), GRID) for t, c in zip((few, many), cells, strict=True)]
    together = Decoder(config, COCO).people_of(
        type(peaks[0])(*(torch.cat(parts) for parts in zip(*peaks, strict=True))),
        torch.cat(cells),
        torch.cat(rows),
        GRID,
    )
    assert [len(person.scores) for person in together] == [2, 3]
    for image, single in enumerate([decode_ideal(few, config)[0], decode_ideal(many, config)[0]]):
        for ours, alone in zip(together[image], single, strict=True):
            assert torch.equal(ours, alone)


def test_photograph_mask_is_plain_interpolation_where_nothing_moves() -> None:
    torch.manual_seed(1)
    attention = torch.rand(2, 6, 8)
    masks = photograph_masks(attention, torch.eye(3)[:2], (96, 128), (96, 128), 0.4)
    expected = F.interpolate(attention[None], size=(96, 128), mode="bilinear", align_corners=False)[0] > 0.4
    for mask, wanted in zip(masks, expected, strict=True):
        assert (mask != wanted).float().mean() < 1e-3


def test_photograph_mask_leaves_the_letterbox_out() -> None:
    attention = torch.zeros(1, 4, 4)
    attention[0, :2, 2:] = 1.0  # right half of a photograph that fills the upper half of the input
    mask = photograph_masks(attention, torch.tensor([[0.5, 0.0, 0.0], [0.0, 0.5, 0.0]]), (64, 64), (16, 32), 0.5)[0]
    assert mask[:12, 17:].all()
    assert not mask[:, :15].any()
