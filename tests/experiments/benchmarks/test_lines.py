"""Every benchmark measures what it says, at sizes that take no time, and its forms agree."""

from dataclasses import replace
from functools import partial
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from datamodules.config import RenderedConfig, WarpPlace
from datamodules.skeleton import COCO
from datamodules.synthetic import make_dataset
from experiments.benchmarks import (
    annotations,
    data_path,
    end_to_end,
    evaluation,
    guided_points,
    paf_assembly,
    suppression,
    targets,
    training_step,
    worker_memory,
)
from experiments.benchmarks.measuring import Line, Setting
from lightning_modules.openpose_ssal.parts import parts_of
from lightning_modules.ssn.network import feature_shift_modules

QUICK = Setting()


@pytest.fixture(autouse=True)
def one_measurement(monkeypatch):
    race = Setting.race
    monkeypatch.setattr(Setting, "race", lambda self, runs, **_: race(self, runs, repeats=1))


def assert_sound(lines: list[Line]) -> None:
    """Figures are figures, and every column has one, or a phrase why not."""
    assert lines
    for line in lines:
        assert line.ours > 0, line
        assert line.ratio is None or line.ratio > 0, line
        assert line.unexplained == [], line


def test_targets_are_the_same():
    persons = targets.sample(3)
    drawn = targets.patches(persons.keypoints[:, 0].numpy(), persons.visibility[:, 0].numpy())
    ours = targets.ours(persons).numpy()
    np.testing.assert_allclose(ours[drawn > 0], drawn[drawn > 0], atol=1e-6)
    assert 0 < ours[drawn == 0].max() < np.exp(-4.5)  # beyond three sigmas
    assert drawn.max() == 1


def test_mmposes_targets_are_the_same():
    if find_spec("mmpose") is None:
        pytest.skip("MMPose is not installed: make bench-peers")
    persons = targets.sample(3)
    points, visibility = persons.keypoints[:, 0].numpy(), persons.visibility[:, 0].numpy()
    drawn = targets.by_mmpose(points, visibility, is_unbiased=False)
    np.testing.assert_allclose(drawn, targets.patches(points, visibility), atol=1e-6)
    between = persons._replace(keypoints=persons.keypoints + 1.3)
    exact = targets.by_mmpose(between.keypoints[:, 0].numpy(), visibility, is_unbiased=True)
    np.testing.assert_allclose(exact, targets.ours(between).numpy(), atol=1e-5)


def test_the_line_of_targets_is_sound():
    assert_sound(targets.lines(QUICK))


def test_suppression_keeps_the_same():
    boxes, scores = suppression.boxes_of(60)
    kept = suppression.box_loop(boxes, scores, 20)
    assert suppression.box_ours(boxes, scores, 20).tolist() == kept
    assert 5 < len(kept) <= 20
    points, values, areas = suppression.poses_of(2, 6)
    stays = suppression.pose_loop(points.numpy(), values.numpy(), areas.numpy())
    ours = suppression.pose_ours(points, values, areas, torch.tensor(COCO.sigmas))
    assert ours.tolist() == stays.tolist()
    assert 0 < stays.sum() < 12
    if find_spec("mmpose") is not None:
        theirs = suppression.by_mmpose(points.numpy(), values.numpy(), areas.numpy())()
        assert [sorted(image.tolist()) for image in theirs] == [np.flatnonzero(image).tolist() for image in stays]
    assert_sound(suppression.lines(QUICK, candidates=20, most=5, images=1, people=4))


def test_assemblies_find_the_same_people():
    parts = parts_of(COCO)
    candidates, scores = paf_assembly.scene(2, 5, parts)
    plain = paf_assembly.plain_assembly(candidates, scores, parts)
    for image, found in enumerate(paf_assembly.ours(candidates, scores, parts)):
        np.testing.assert_allclose(found[: len(plain[image])].numpy(), plain[image], rtol=1e-4)
        assert not found[len(plain[image]) :].any()
    assert min(len(people) for people in plain) >= 4
    assert_sound(paf_assembly.lines(QUICK, images=1, people=3))


def test_guided_points_have_the_same_features():
    sampler = guided_points.GuidedPointSampler((0, 0, 4), 4.0, 8.0, shuffle=False)
    heatmaps, goal, labelled, features = guided_points.sample(1)
    heatmaps, goal, labelled = heatmaps[:, :1], goal[:, :1], torch.ones(1, 1, dtype=torch.bool)
    (plain,) = guided_points.joint_by_joint(sampler, heatmaps, goal, labelled, features)
    ours = guided_points.features_at(features, sampler(heatmaps, goal, labelled).position)[0, 0]
    order, theirs = ours[:, 0].argsort(), torch.from_numpy(plain)
    np.testing.assert_allclose(ours[order].numpy(), theirs[theirs[:, 0].argsort()].numpy(), atol=1e-4)
    assert_sound(guided_points.lines(QUICK, crops=1))


def test_messages_one_by_one_are_the_same():
    torch.manual_seed(0)
    edges = guided_points.directed_edges(COCO.limb_indices, 17, neighbours=True)
    assert len(edges) == 55
    graph = guided_points.GraphConvolution(6, 5, edges, 17)
    features, weights = torch.randn(17, 6, 4), torch.rand(17, 4)
    ours, theirs = graph(features, weights), guided_points.edge_by_edge(graph, features, weights)
    torch.testing.assert_close(ours, theirs)
    lines = guided_points.graph_lines(QUICK, points=8)
    assert_sound(lines)
    assert all(line.limit < line.ours for line in lines)


def test_the_figures_are_pycocotools_own():
    lines = evaluation.lines(QUICK, images=6)
    assert_sound(lines)
    assert all(line.limit < line.ours for line in lines)
    backends = ["pycocotools"] if find_spec("hotcoco") is None else ["pycocotools", "hotcoco"]
    assert [line.name for line in lines] == [f"COCO figures, {name}" for name in backends]


def test_the_peers_figures_are_pycocotools_own(tmp_path):
    pytest.importorskip("faster_coco_eval", reason="faster-coco-eval is not installed: make bench-peers")
    file = tmp_path / "truth.json"
    annotations.write_file(file, 6, 13)
    found = evaluation.detections(file)
    assert evaluation.by_faster_coco_eval(file, found) == pytest.approx(evaluation.by_pycocotools(file, found))


def test_a_file_of_the_benchmark_is_sound_and_cached(monkeypatch):
    monkeypatch.setattr(annotations, "SIZES", {"val2017": (1500, 3000)})
    (line,) = annotations.lines(QUICK)
    assert_sound([line])
    assert line.naive > line.ours


def test_the_data_path_runs_on_rendered_people():
    lines = data_path.lines(QUICK, most=2)
    assert len(lines) == 2 * len(data_path.CASES)
    assert_sound(lines)


def test_the_device_warps_what_grid_sample_does(tmp_path):
    for case in (data_path.CASES[number] for number in (1, 2, 4)):  # a frame, a part of a photograph, a turned crop
        annotations_ = data_path.photographs(QUICK, tmp_path, 1)
        dataset = data_path.build_dataset(
            annotations_, replace(case.config, warp=WarpPlace.device), COCO, train=case.train
        )
        batch = data_path.Collate(32).unwarped(dataset.__getitems__([0]))
        theirs, ours = data_path.one_by_one(batch), data_path.warp_batch(batch, torch.zeros(3)).images
        height, width = batch.batch.meta.input_hw[0].tolist()
        apart = (theirs.int() - ours.int())[:, :, :height, :width].abs()
        assert apart.max() <= 1
        assert apart.float().mean() < 0.01
        assert_sound([data_path.warping(case, annotations_, QUICK)])


TINY = "model.backbone={name: resnet18, weights: null, frozen_stages: 0}"
SMALL = {
    "inspose": ("smoke", ("data.size=64", "data.max_size=64")),
    "graph_pcnn": ("smoke", (TINY,)),
    "ssa": ("smoke", ("data.size=64",)),
    "openpose_ssal": ("smoke", ()),
}


@pytest.mark.parametrize("paper", SMALL)
def test_inference_and_the_share_of_decoding(paper, tmp_path, monkeypatch):
    monkeypatch.setattr(end_to_end, "RenderedConfig", lambda **_: RenderedConfig(1, 1, 64))
    preset, overrides = SMALL[paper]
    small = [
        model._replace(preset=preset, overrides=overrides, peers=())
        for model in end_to_end.MODELS
        if model.paper == paper
    ]
    inference, decoding = end_to_end.lines(QUICK, models=tuple(small))
    assert_sound([inference, decoding])
    assert 0 < inference.limit < inference.ours
    assert decoding.naive > 0
    assert 0 < 0.1 * decoding.ours < decoding.limit
    assert inference.naive > 0
    assert inference.peer is None


def test_workers_come_to_own_objects_and_share_columns(monkeypatch):
    monkeypatch.setattr(worker_memory, "SIZES", {"val2017": (2000, 6000)})
    (line,) = worker_memory.lines(QUICK)
    assert line.naive > line.ours
    assert line.peer > line.ours
    assert line.limit < line.naive
    assert_sound([line])


def test_all_forms_look_at_the_same_people(tmp_path):
    file = tmp_path / "people.json"
    annotations.write_file(file, 5, 12)
    with annotations.cache_in(tmp_path):
        columns = worker_memory.in_columns(annotations.read_annotations(file, tmp_path, COCO))
    objects, index = worker_memory.in_objects(file), worker_memory.in_index(file)
    for image in range(5):
        assert objects(image) == index(image) > 0
        assert columns(image) > 0


def test_a_step_of_training_has_a_rate_and_its_forms_differ_in_layout_and_targets_alone():
    case = training_step.Case(
        "graph_pcnn", (training_step.BACKBONE, "data.crop_size=[128,96]"), (), 2, training_step.CROP
    )
    line, memory = training_step.lines(QUICK, (case,))
    assert_sound([line, memory])
    assert memory.peers.keys() == line.peers.keys() == {"SimpleBaseline"}
    assert 0 < memory.peer < 0.7 * memory.ours
    assert line.name == "training, graph_pcnn, 2 × 128×96"
    assert "images/s" in line.note
    assert 0 < line.limit < line.ours
    assert memory.ours == pytest.approx(memory.naive, rel=0.05)
    config = training_step.compose("graph_pcnn", None, list(case.overrides))
    modules = [training_step.module_to_train(config, QUICK, is_plain=is_plain) for is_plain in (True, False)]
    weights = [module.network.state_dict() for module in modules]
    for name, value in weights[0].items():
        assert value.equal(weights[1][name])
    strides = [{p.stride() for p in module.parameters() if p.dim() == 4 and p.shape[2] > 1} for module in modules]
    assert strides[0] != strides[1]


def test_ssn_is_measured_with_its_modules():
    cases = (*end_to_end.MODELS, *training_step.CASES)
    for overrides in (case.overrides for case in cases if case.paper == "ssn"):
        network = end_to_end.plain_module_of(end_to_end.compose("ssn", None, list(overrides)), QUICK).network
        assert [module.is_inserted for module in feature_shift_modules(network)] == [True] * 13


@pytest.mark.parametrize("paper", SMALL)
def test_a_step_with_the_hosts_targets_has_the_same_loss(paper, tmp_path):
    make_dataset(tmp_path, RenderedConfig(1, 2, 64), progress=False)
    preset, overrides = SMALL[paper]
    config = training_step.compose(paper, preset, list(overrides))
    batch = training_step.batch_of(config, tmp_path, 2, QUICK)
    module = training_step.plain_module_of(config, QUICK).eval()  # no dropout, no batch statistics
    ours = partial(training_step.loss_of, module, batch, QUICK)
    targets = training_step.HostTargets(paper, batch, QUICK)
    torch.manual_seed(0)
    expected = ours()
    assert targets.seconds == 0
    torch.manual_seed(0)
    torch.testing.assert_close(training_step.with_targets_of(targets, module, ours), expected, rtol=1e-4, atol=1e-4)
    assert targets.seconds > 0
    assert targets.drawn is not None
