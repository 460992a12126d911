import math
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import distributed
from torch.nn import functional as F

from datamodules.contracts import PoseBatch
from lightning_modules.inspose.config import Config
from lightning_modules.inspose.criterion import Criterion
from lightning_modules.inspose.kp_net import KPNetShape
from lightning_modules.inspose.locations import level_shapes, locations, map_shape
from lightning_modules.inspose.network import Output
from lightning_modules.inspose.targets import encode_targets
from losses.focal import SigmoidFocalLoss

Make = Callable[..., Any]
SHAPE = KPNetShape(8, 3, 17)


def random_output(image_hw: tuple[int, int], batch: int = 2, boxes: bool = False, seed: int = 0) -> Output:
    generator = torch.Generator().manual_seed(seed)
    count = sum(h * w for h, w in level_shapes(image_hw))
    height, width = level_shapes(image_hw)[0]

    def random(*shape: int) -> torch.Tensor:
        return (torch.randn(batch, *shape, generator=generator) * 0.5).requires_grad_()

    return Output(
        random(count),
        random(SHAPE.num_parameters, count),
        random(8, height, width),
        random(34, height, width),
        random(17, height, width),
        random(4, count).exp().mul(20).detach().requires_grad_() if boxes else None,
    )


def size(batch: PoseBatch) -> tuple[int, int]:
    return batch.images.shape[-2], batch.images.shape[-1]


def test_the_keypoint_term_by_loop(make_batch: Make) -> None:
    batch, config = make_batch(), Config()
    targets, output, grid = (
        encode_targets(batch, config),
        random_output(size(batch)),
        locations((128, 160), torch.device("cpu")),
    )
    terms = Criterion(config, SHAPE)(output, targets, size(batch))
    total, pairs = 0.0, 0
    for b in range(2):
        for i in torch.nonzero(targets.person_index[b] >= 0)[:, 0].tolist():
            person = int(targets.person_index[b, i])
            relative = torch.empty(2, 16, 20)
            relative[0] = (torch.arange(20) * 8 + 4 - grid.points[i, 0])[None] / (8 * grid.strides[i])
            relative[1] = (torch.arange(16) * 8 + 4 - grid.points[i, 1])[:, None] / (8 * grid.strides[i])
            w1, b1, w2, b2, w3, b3 = output.parameters[b, :, i].split([80, 8, 64, 8, 136, 17])
            maps = F.conv2d(torch.cat([output.kp_features_s8[b], relative])[None], w1.view(8, 10, 1, 1), b1).relu()
            maps = F.conv2d(F.conv2d(maps, w2.view(8, 8, 1, 1), b2).relu(), w3.view(17, 8, 1, 1), b3)[0]
            for k in range(17):
                if batch.persons.visibility[b, person, k] > 0:
                    x, y = (batch.persons.keypoints[b, person, k] // 8).long().tolist()
                    values = maps[k].double()
                    total += (values.logsumexp((0, 1)) - values[y, x]).item()
                    pairs += 1
    assert pairs > 50
    assert terms["keypoint"].item() == pytest.approx(total / pairs, rel=1e-5)


def test_the_classification_term(make_batch: Make) -> None:
    batch, config = make_batch(input_hw=[(128, 160), (90, 120)]), Config()
    targets, output = encode_targets(batch, config), random_output(size(batch))
    terms = Criterion(config, SHAPE)(output, targets, size(batch))
    kept = targets.is_learnt
    expected = SigmoidFocalLoss()(output.class_logits[kept], (targets.person_index >= 0)[kept])
    torch.testing.assert_close(terms["cls"], expected)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({}, {"cls", "keypoint", "disk_offset", "heatmap"}),
        ({"disk_offset": False, "heatmap": False}, {"cls", "keypoint"}),
        ({"bbox_head": True}, {"cls", "keypoint", "disk_offset", "heatmap", "box"}),
    ],
)
def test_terms_are_named_as_their_weights(make_batch: Make, changes: dict[str, Any], names: set[str]) -> None:
    batch, config = make_batch(), Config(**changes)
    output = random_output(size(batch), boxes=config.bbox_head)
    output = output._replace(
        disk_offsets_s8=output.disk_offsets_s8 if config.disk_offset else None,
        heatmap_s8=output.heatmap_s8 if config.heatmap else None,
    )
    terms = Criterion(config, SHAPE)(output, encode_targets(batch, config), size(batch))
    assert set(terms) == names <= set(vars(config.loss_weights))
    assert all(term.dtype == torch.float32 and term.dim() == 0 and term > 0 for term in terms.values())


def test_exact_predictions_cost_nothing(make_batch: Make) -> None:
    batch, config = make_batch(), Config(bbox_head=True, max_positives=1000)
    targets, output = encode_targets(batch, config), random_output(size(batch), boxes=True)
    grid = locations(size(batch), torch.device("cpu"))
    assert targets.disk_offsets is not None
    assert targets.heatmap_s8 is not None
    person = targets.person_index.clamp(min=0)
    boxes = targets.boxes.gather(1, person.unsqueeze(-1).expand(-1, -1, 4))
    distances = torch.cat([grid.points - boxes[..., :2], boxes[..., 2:] - grid.points], dim=-1)
    ideal = output._replace(
        class_logits=torch.where(targets.person_index >= 0, 30.0, -30.0),
        disk_offsets_s8=targets.disk_offsets.flatten(1, 2),
        box_distances=distances.transpose(1, 2),
    )
    terms = Criterion(config, SHAPE)(ideal, targets, size(batch))
    for name in ("cls", "disk_offset", "box"):
        assert terms[name].item() == pytest.approx(0.0, abs=1e-6), name


@pytest.mark.parametrize("stride", [16, 8, 4])
def test_what_lies_in_padding_changes_nothing(make_batch: Make, stride: int) -> None:
    config = Config(map_stride=stride)
    batch = make_batch(batch=2, height=128, width=128, input_hw=[(64, 96), (128, 64)])
    output, other = random_output((128, 128)), random_output((128, 128), seed=1)
    grid = locations((128, 128), torch.device("cpu"))
    inside = (grid.points < batch.meta.input_hw.flip(-1)[:, None]).all(-1)
    rows, columns = torch.arange(16) * 8, torch.arange(16) * 8
    cells = (rows[:, None] < batch.meta.input_hw[:, 0, None, None]) & (columns < batch.meta.input_hw[:, 1, None, None])
    # a bilinear sample at the border reads one cell of padding: what is compared ends there
    grown = F.max_pool2d(cells.float()[:, None], 3, 1, 1).bool() if stride < 8 else cells[:, None]
    changed = Output(
        torch.where(inside, output.class_logits, other.class_logits),
        torch.where(inside[:, None], output.parameters, other.parameters),
        torch.where(grown, output.kp_features_s8, other.kp_features_s8),
        torch.where(grown, output.disk_offsets_s8, other.disk_offsets_s8),
        torch.where(cells[:, None], output.heatmap_s8, other.heatmap_s8),
        None,
    )
    criterion, targets = Criterion(config, SHAPE), encode_targets(batch, config)
    before, after = criterion(output, targets, (128, 128)), criterion(changed, targets, (128, 128))
    for name in before:
        assert before[name].item() == pytest.approx(after[name].item(), rel=1e-6), name


@pytest.mark.fault(8, "InsPose: nobody", "background only; touches everything")
def test_nobody_costs_background_only_and_reaches_every_prediction(make_batch: Make) -> None:
    batch, config = make_batch(labelled=0.0), Config(bbox_head=True)
    batch = batch._replace(persons=batch.persons._replace(is_real=torch.zeros(2, 3, dtype=torch.bool)))
    output = random_output(size(batch), boxes=True)
    terms = Criterion(config, SHAPE)(output, encode_targets(batch, config), size(batch))
    assert {name for name, term in terms.items() if term.item() == 0.0} == {"keypoint", "disk_offset", "box"}
    torch.stack(list(terms.values())).sum().backward()
    for name, value in output._asdict().items():
        assert value.grad is not None, name
        assert value.grad.isfinite().all(), name


@pytest.mark.fault(8, "InsPose: only a crowd", "zero loss; touches everything")
def test_an_ignored_batch_without_people_costs_nothing(make_batch: Make) -> None:
    batch = make_batch(labelled=0.0)
    batch.ignore[:] = True
    output = random_output(size(batch))
    terms = Criterion(Config(), SHAPE)(output, encode_targets(batch, Config()), size(batch))
    assert [term.item() for term in terms.values()] == [0.0] * 4


def test_uniform_maps_cost_the_logarithm_of_the_cells(make_batch: Make) -> None:
    batch = make_batch(input_hw=[(128, 160), (128, 160)])
    output = random_output(size(batch))._replace(parameters=torch.zeros(2, 313, 437).requires_grad_())
    for stride in (16, 8, 4, 2):
        config = Config(map_stride=stride)
        terms = Criterion(config, SHAPE)(output, encode_targets(batch, config), size(batch))
        height, width = map_shape(size(batch), stride)
        assert terms["keypoint"].item() == pytest.approx(math.log(height * width), rel=1e-6)


def test_half_precision_outputs_are_summed_in_float32(make_batch: Make) -> None:
    batch, config = make_batch(), Config()
    output, targets = random_output(size(batch)), encode_targets(batch, config)
    half = Output(*(None if value is None else value.to(torch.bfloat16) for value in output))
    criterion = Criterion(config, SHAPE)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = criterion(half, targets, size(batch))
    rounded = Output(*(None if value is None else value.to(torch.bfloat16).float() for value in output))
    for name, expected in criterion(rounded, targets, size(batch)).items():
        assert terms[name].dtype == torch.float32
        assert terms[name].item() == pytest.approx(expected.item(), rel=1e-5)


def on(device: str, values: Any) -> Any:
    if isinstance(values, torch.Tensor):
        return values.detach().to(device)
    return values if values is None else type(values)(*(on(device, value) for value in values))


@pytest.mark.parametrize("changes", [{}, {"bbox_head": True, "map_stride": 16}, {"map_stride": 4}])
def test_nothing_in_a_step_depends_on_values(make_batch: Make, changes: dict[str, Any]) -> None:
    """Tensors without data pass: no value is read, no shape follows from one, so a device never waits for the host."""
    config = Config(**changes)
    batch, output = on("meta", make_batch()), on("meta", random_output((128, 160), boxes=config.bbox_head))
    output = Output(*(None if value is None else value.requires_grad_() for value in output))
    terms = Criterion(config, SHAPE)(output, encode_targets(batch, config), (128, 160))
    torch.stack(list(terms.values())).sum().backward()
    assert all(value.grad is not None for value in output if value is not None)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_the_device_gives_the_hosts_terms_without_waiting_for_it(make_batch: Make) -> None:
    config, criterion = Config(bbox_head=True), Criterion(Config(bbox_head=True), SHAPE)
    batch, output = make_batch(), random_output((128, 160), boxes=True)
    expected = criterion(output, encode_targets(batch, config), (128, 160))
    there, outputs = on("cuda", batch), on("cuda", output)
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = criterion(outputs, encode_targets(there, config), (128, 160))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for name, term in expected.items():
        assert found[name].item() == pytest.approx(term.item(), rel=1e-4), name


def test_two_processes_train_as_one_on_the_union(make_batch: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every process's gradient, averaged as DDP does, is the union's; one of the two sees nobody."""
    config = Config()
    batch = make_batch()
    batch.persons.is_real[1] = False
    whole = random_output(size(batch))
    terms = Criterion(config, SHAPE)(whole, encode_targets(batch, config), size(batch))
    torch.stack(list(terms.values())).sum().backward()

    barrier, pool = threading.Barrier(2), []

    def all_reduce(tensor: torch.Tensor) -> None:
        pool.append(tensor.clone())
        barrier.wait(timeout=20)
        tensor.copy_(pool[0] + pool[1])
        barrier.wait(timeout=20)

    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "all_reduce", all_reduce)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 2)
    parts: dict[int, Output] = {}

    def process(rank: int) -> None:
        one = Output(*(None if v is None else v[rank : rank + 1].detach().requires_grad_() for v in whole))
        mine = PoseBatch(
            batch.images[rank : rank + 1],
            type(batch.persons)(*(value[rank : rank + 1] for value in batch.persons)),
            batch.ignore[rank : rank + 1],
            None,
            type(batch.meta)(*(value[rank : rank + 1] for value in batch.meta)),
        )
        terms = Criterion(config, SHAPE)(one, encode_targets(mine, config), size(batch))
        torch.stack(list(terms.values())).sum().backward()
        parts[rank] = one

    threads = [threading.Thread(target=process, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, value in whole._asdict().items():
        if value is not None:
            averaged = torch.cat([getattr(parts[rank], name).grad for rank in range(2)]) / 2
            torch.testing.assert_close(averaged, value.grad, msg=lambda text, name=name: f"{name}: {text}")
