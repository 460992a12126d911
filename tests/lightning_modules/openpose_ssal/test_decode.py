import pytest
import torch

from datamodules.skeleton import COCO
from lightning_modules.openpose_ssal.candidates import Grid
from lightning_modules.openpose_ssal.config import Config, DecodeConfig, NetworkConfig
from lightning_modules.openpose_ssal.decode import Scale, decode, predict_scales
from lightning_modules.openpose_ssal.network import Network, Output
from lightning_modules.openpose_ssal.parts import parts_of
from lightning_modules.openpose_ssal.targets import encode_targets
from tests.lightning_modules.openpose_ssal.scenes import make_batch, standing_people

PARTS = parts_of(COCO)
SIZE = (256, 320)


def config(downsampling=8, scales=(1.0,), base_size=None, **changes) -> Config:
    return Config(
        network=NetworkConfig(downsampling=downsampling),
        decode=DecodeConfig(scales=list(scales), base_size=base_size),
        **changes,
    )


def scene(jitter=3.0):
    people = [
        standing_people([(80.3, 130.7), (230.9, 127.2)], [170.0, 180.0], seed=1, jitter=jitter),
        standing_people([(160.5, 140.1), (60.2, 120.2)], [180.0, 0.0], seed=2, jitter=jitter),
    ]
    visibility = torch.full((2, 2, 17), 2, dtype=torch.uint8)
    visibility[1, 1] = 0
    return make_batch(torch.stack(people), visibility, SIZE)


def as_scale(targets, cell, offsets=True) -> Scale:
    size = torch.full((len(targets.heatmaps),), float(cell))
    return Scale(Grid(targets.heatmaps[:, :-1], targets.offsets if offsets else None, size), targets.pafs)


def assert_exact(predictions, batch, tolerance):
    assert predictions.is_valid.sum(1).tolist() == batch.persons.is_real.sum(1).tolist()
    assert errors(predictions, batch).max() < tolerance


def errors(predictions, batch) -> torch.Tensor:
    """Distance of every labelled keypoint to the same keypoint of the nearest predicted person, pixels."""
    distances = (predictions.keypoints[:, None, :, :, :2] - batch.persons.keypoints[:, :, None]).norm(dim=-1)
    distances = distances.masked_fill(~predictions.is_valid[:, None, :, None], torch.inf)
    best = distances.mean(-1).argmin(-1)
    nearest = distances.gather(2, best[..., None, None].expand(-1, -1, 1, 17))[:, :, 0]
    return nearest[batch.persons.is_real]


@pytest.mark.parametrize("cell", [8, 16])
def test_encode_then_decode_is_exact_at_the_peak_cell(cell):
    batch, settings = scene(), config(cell)
    found = decode([as_scale(encode_targets(batch, PARTS, settings), cell)], batch, PARTS, settings.decode)
    assert_exact(found, batch, 1e-3)
    without = decode([as_scale(encode_targets(batch, PARTS, settings), cell, False)], batch, PARTS, settings.decode)
    assert 0.1 < errors(without, batch).mean() < cell / 2


def test_several_scales_vote_for_the_exact_place():
    batch, settings = scene(), config(scales=(0.5, 1.0))
    scales = []
    for factor in (0.5, 1.0):
        keypoints = batch.persons.keypoints * factor
        small = make_batch(keypoints, batch.persons.visibility, (int(SIZE[0] * factor), int(SIZE[1] * factor)))
        scales.append(as_scale(encode_targets(small, PARTS, settings), 8 / factor))
    assert_exact(decode(scales, batch, PARTS, settings.decode), batch, 1e-2)
    blind = [Scale(scale.grid._replace(offsets=None), scale.pafs) for scale in scales]
    assert errors(decode(blind, batch, PARTS, settings.decode), batch).mean() > 0.2


def test_a_batch_is_its_images_and_the_way_back_is_applied():
    batch, settings = scene(), config()
    targets = encode_targets(batch, PARTS, settings)
    together = decode([as_scale(targets, 8)], batch, PARTS, settings.decode)
    affine = torch.tensor([[2.0, 0.0, 5.0], [0.0, 2.0, -3.0]])
    moved = batch._replace(meta=batch.meta._replace(to_original=affine.expand(2, 2, 3)))
    shifted = decode([as_scale(targets, 8)], moved, PARTS, settings.decode)
    for i in range(2):
        one = type(batch)(*(_row(field, i) for field in batch))
        alone = decode([as_scale(encode_targets(one, PARTS, settings), 8)], one, PARTS, settings.decode)
        real = alone.is_valid[0]
        assert real.sum() == together.is_valid[i].sum()
        torch.testing.assert_close(alone.keypoints[0, real], together.keypoints[i, together.is_valid[i]])
        expected = together.keypoints[i, together.is_valid[i], :, :2] * 2 + torch.tensor([5.0, -3.0])
        torch.testing.assert_close(shifted.keypoints[i, shifted.is_valid[i], :, :2], expected)


def _row(field, i):
    if field is None:
        return None
    if isinstance(field, tuple):
        return type(field)(*(_row(inner, i) for inner in field))
    return field[i : i + 1]


def test_nothing_is_found_on_padding_or_in_an_empty_image():
    batch, settings = scene(), config()
    targets = encode_targets(batch, PARTS, settings)
    narrow = batch._replace(meta=batch.meta._replace(input_hw=torch.tensor([[256, 150], [256, 0]])))
    assert decode([as_scale(targets, 8)], narrow, PARTS, settings.decode).is_valid.sum(1).tolist() == [1, 0]
    assert decode([as_scale(targets, 8, False)], narrow, PARTS, settings.decode).is_valid.sum(1).tolist() == [1, 0]
    nobody = targets._replace(heatmaps=torch.zeros_like(targets.heatmaps))
    found = decode([as_scale(nobody, 8)], batch, PARTS, settings.decode)
    assert found.keypoints.shape == (2, 0, 17, 3)


def test_test_scales_see_the_image_at_their_size():
    seen = []

    def network(images):
        seen.append(images)
        batch, _, height, width = images.shape
        return Output(
            torch.zeros(1, batch, 19, height // 8, width // 8),
            torch.zeros(1, batch, 19, 2, height // 8, width // 8),
            None,
        )

    images = torch.zeros(2, 3, 96, 128)
    images[0, :, :90, :120] = 1.0
    images[1, :, :60, :120] = 1.0
    hw = torch.tensor([[90, 120], [60, 120]])
    scales = predict_scales(network, images, hw, 8, config(scales=(0.5, 2.0), base_size=60).decode)
    assert [tuple(image.shape[2:]) for image in seen] == [(32, 64), (120, 240)]
    torch.testing.assert_close(scales[0].grid.cell, torch.tensor([8 * 90 / 30, 8 * 60 / 30]))
    for image, scale in zip(seen, (0.5, 2.0), strict=True):
        shown = (image[:, 0] > 0.5).sum(2)[:, 0], (image[:, 0] > 0.5).sum(1)[:, 0]
        assert shown[1].tolist() == [60 * scale, 60 * scale]
        assert shown[0].tolist() == [80 * scale, 120 * scale]
    seen.clear()
    predict_scales(network, images, hw, 8, config().decode)
    assert seen[0] is images


def test_a_networks_output_is_decoded():
    small = NetworkConfig(weights=None, backbone_width=0.0625, feature_channels=8, stage_width=8, stages=2)
    settings = Config(network=small, decode=DecodeConfig(scales=[0.5, 1.0], base_size=64))
    batch = scene()
    network = Network(small, 18, 19, True).eval()
    with torch.no_grad():
        scales = predict_scales(network, batch.images, batch.meta.input_hw, 8, settings.decode)
    found = decode(scales, batch, PARTS, settings.decode)
    assert found.keypoints.shape[0] == 2
    assert found.keypoints.shape[2:] == (17, 3)
