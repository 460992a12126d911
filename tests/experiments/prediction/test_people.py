"""What is predicted of an evaluation's images is what the evaluation predicted: the same file, entry by entry."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules.coco import CocoDataModule
from datamodules.contracts import last_stage
from datamodules.evaluator import CocoKeypointEvaluator
from experiments.checkpoint import Trained, load_trained
from experiments.predict import main
from experiments.prediction.overlap import see_through
from experiments.prediction.people import Estimator, People

INSPOSE = ("model.score_threshold=0.0", "model.max_candidates=30", "data.size=96")
SMALL = {
    "inspose": INSPOSE,
    "ssn": (),
    "graph_pcnn": (),
    "ssa": ("data.size=64", "model.decode.candidate_threshold=0.0", "model.decode.attraction_threshold=0.0"),
    "openpose_ssal": (
        "data.size=64",
        "model.decode.base_size=64",
        "model.decode.peak_threshold=0.0",
        "model.decode.min_parts=1",
        "model.decode.min_mean_score=-9.0",
    ),
}
"""Settings under which random weights find someone."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums that more threads share are rounded otherwise."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@torch.no_grad()
def evaluated(trained: Trained) -> list[dict]:
    data = CocoDataModule(trained.config.data, trained.skeleton)
    data.setup("validate")
    suppress = getattr(trained.module, "suppress", None)
    evaluator = CocoKeypointEvaluator(data.val_annotation_file, skeleton=trained.skeleton, suppress=suppress)
    for batch in data.val_dataloader():
        evaluator.update(last_stage(trained.module.predict(data.on_after_batch_transfer(batch, 0))))
    return evaluator.results()


@pytest.mark.parametrize("batch", [1, 3])
def test_whole_images(write_checkpoint: Callable[..., Path], tiny_coco: Path, tmp_path: Path, batch: int) -> None:
    file = write_checkpoint("inspose", f"data.root={tiny_coco}", f"data.val_batch_size={batch}", *INSPOSE)
    expected = evaluated(load_trained(file))
    assert len(expected) > 7
    out = tmp_path / "out"
    arguments = ["--checkpoint", str(file), str(tiny_coco / "val2017"), "--out", str(out), "--no-pictures", "--exact"]
    assert main(arguments) == 0
    assert json.loads((out / "predictions.json").read_text()) == expected


def test_crops_of_a_detectors_boxes(write_checkpoint: Callable[..., Path], tiny_coco: Path, tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    boxes = [
        {"image_id": image_id, "category_id": 1, "bbox": [*corner, *size], "score": score}
        for image_id in (1, 2, 2, 2, 5, 7, 7)
        for corner, size, score in [
            (generator.uniform(-3, 30, 2).tolist(), generator.uniform(10, 40, 2).tolist(), float(generator.random()))
        ]
    ]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    given = f"data.detections.file={tmp_path / 'boxes.json'}"
    file = write_checkpoint("ssn", f"data.root={tiny_coco}", given, "data.val_batch_size=4")
    expected = evaluated(load_trained(file))
    assert len({result["image_id"] for result in expected}) == 4
    out = tmp_path / "out"
    arguments = ["--checkpoint", str(file), str(tiny_coco / "val2017"), "--out", str(out), "--no-pictures"]
    arguments += ["--boxes", str(tmp_path / "boxes.json")]
    assert main([*arguments, "--exact"]) == 0
    assert json.loads((out / "predictions.json").read_text()) == expected
    assert main(arguments) == 0
    for ours, theirs in zip(json.loads((out / "predictions.json").read_text()), expected, strict=True):
        assert ours["image_id"] == theirs["image_id"]
        assert ours["score"] == pytest.approx(theirs["score"], rel=1e-4)
        assert ours["keypoints"] == pytest.approx(theirs["keypoints"], abs=0.01)


@pytest.mark.parametrize("paper", SMALL)
def test_batches_computed_at_the_same_time_do_not_disturb_each_other(
    write_checkpoint: Callable[..., Path], paper: str
) -> None:
    trained = load_trained(write_checkpoint(paper, *SMALL[paper]))
    if paper == "openpose_ssal":  # whose heads begin near zero
        for parameter in trained.module.parameters():
            if parameter.ndim > 1:
                torch.nn.init.kaiming_normal_(parameter, generator=torch.Generator().manual_seed(0))
    estimator = Estimator(trained.module, trained.config.data, trained.skeleton, device=torch.device("cpu"))
    generator, batches = np.random.default_rng(2), []
    for number in range(6):
        picture = generator.integers(0, 256, (64, 48 + 16 * (number % 2), 3), dtype=np.uint8)
        box = (
            [np.array([[4, 4, 40, 60]], np.float32), np.ones(1, np.float32)]
            if estimator.make_samples.takes_boxes
            else []
        )
        batches.append(estimator.prepare(estimator.make_samples(picture, number, *box)))
    expected = [estimator.compute(batch) for batch in batches]
    assert sum(len(people.scores) for (people,) in expected) > 0
    found: list[list[People]] = []
    one_thread = partial(torch.set_num_threads, 1)
    see_through(iter(batches * 2), estimator.compute, found.append, at_once=3, start=one_thread)
    for (ours,), (theirs,) in zip(found, expected * 2, strict=True):
        np.testing.assert_array_equal(ours.keypoints, theirs.keypoints)
        np.testing.assert_array_equal(ours.scores, theirs.scores)


class Blank(torch.nn.Module):
    network = torch.nn.Conv2d(3, 1, 1).eval()

    def predict(self, batch: object) -> None:
        raise AssertionError("nothing to look at")


def test_people_of_a_photograph_are_the_best_of_its_samples() -> None:
    from datamodules.config import DataConfig
    from datamodules.skeleton import COCO

    estimator = Estimator(Blank(), DataConfig(), COCO, device=torch.device("cpu"))
    nobody = estimator.merge([])
    assert nobody.keypoints.shape == (0, 17, 3)

    def part(scores: list[float]) -> People:
        keypoints = np.tile(np.array(scores, np.float32)[:, None, None], (1, 17, 3))
        boxes = np.tile(np.array(scores, np.float32)[:, None], (1, 4))
        masks = [np.full((1, 1), score > 0.5) for score in scores]
        return People(keypoints, np.array(scores, np.float32), boxes[:, 0], boxes, masks)

    found = estimator.merge([part([0.2]), part([]), part([0.9, 0.4] + [0.1] * 30)])
    assert found.scores[:3].tolist() == pytest.approx([0.9, 0.4, 0.2])
    assert len(found.scores) == 20
    assert found.boxes is not None
    assert found.masks is not None
    assert np.array_equal(found.boxes[:, 0], found.scores)
    assert [bool(mask) for mask in found.masks[:2]] == [True, False]
