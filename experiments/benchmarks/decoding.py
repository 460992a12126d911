"""What follows a network, by itself: its answers given again; the same one by one; and what others use for it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

from datamodules.contracts import PoseBatch
from datamodules.skeleton import COCO
from experiments.benchmarks.guided_points import edge_by_edge
from experiments.benchmarks.inspose_kp_nets import loop
from experiments.benchmarks.measuring import Run, Setting
from experiments.benchmarks.paf_assembly import plain_assembly
from experiments.benchmarks.peers import FOUND, Peer, stand_in_for_extensions
from experiments.benchmarks.ssa_grouping import plain_body_first, plain_part_first
from lightning_modules.inspose.kp_net import KPNetShape
from lightning_modules.openpose_ssal.assembly import People
from lightning_modules.openpose_ssal.candidates import Candidates
from lightning_modules.openpose_ssal.config import DecodeConfig
from lightning_modules.openpose_ssal.parts import Parts


class Recorded:
    """A network's answers in one ``run``."""

    def __init__(self, network: nn.Module, run: Run) -> None:
        self.network, self.answers = network, list[Any]()
        hook = network.register_forward_hook(lambda module, given, answer: self.answers.append(answer))
        run()
        hook.remove()

    def again(self, run: Run) -> object:
        """``run``, in which the network computes nothing and answers the same."""
        answers = iter(self.answers)
        with patch.object(self.network, "forward", lambda *given, **options: next(answers)):
            return run()


class Once:
    """A function that computes the first time only, and says the same ever after."""

    def __init__(self, form: Callable[..., Any]) -> None:
        self.form, self.answers = form, list[Any]()

    def __call__(self, *given: Any, **options: Any) -> Any:
        if not self.answers:
            self.answers.append(self.form(*given, **options))
        return self.answers[0]


def decoding_of_truth(module: Any, batch: PoseBatch) -> Run | None:
    """Decoding of the true people, encoded once, for papers whose random weights say what is too odd to decode."""
    if module.hparams.paper == "ssa":
        from lightning_modules.ssa import oracle as of_ssa

        encoded = {name: Once(getattr(of_ssa, name)) for name in ("encode_targets", "ideal_rows")}
        return partial(_with, of_ssa, encoded, lambda: of_ssa.ceiling(batch, module.config, COCO))
    if module.hparams.paper == "openpose_ssal":
        from lightning_modules.openpose_ssal import oracle as of_openpose

        encoded = {"encode_targets": Once(of_openpose.encode_targets)}
        how = of_openpose.Localisation.offsets
        return partial(
            _with, of_openpose, encoded, lambda: of_openpose.ceiling(batch, module.parts, module.config, how)
        )
    return None


def _with(place: Any, forms: dict[str, Any], run: Run) -> object:
    with patch.multiple(place, **forms):
        return run()


def one_by_one(module: Any, run: Run) -> object:
    """``run``, in which ``module`` decodes in the straightforward form; see ``ONE_BY_ONE``."""
    paper = module.hparams.paper
    with ExitStack() as changes:
        for name, form in FORMS[paper].items():
            changes.enter_context(patch(f"lightning_modules.{paper}.{name}", form))
        if paper == "graph_pcnn":
            changes.enter_context(patch.object(module.estimate, "decode_peaks", quarter_of_each))
        return run()


def quarter_of_each(heatmap: Tensor) -> tuple[Tensor, Tensor]:
    """``shared.peaks.quarter_peaks`` in numpy, a joint at a time: f32 [B, K, h, w] -> [B, K, 2] and [B, K]."""
    maps = heatmap.float().cpu().numpy()
    points, scores = np.zeros((*maps.shape[:2], 2), np.float32), np.zeros(maps.shape[:2], np.float32)
    height, width = maps.shape[2:]
    for place in np.ndindex(*maps.shape[:2]):
        plane = maps[place]
        row, column = (int(value) for value in np.unravel_index(plane.argmax(), plane.shape))
        points[place], scores[place] = (column, row), plane[row, column]
        if 0 < column < width - 1:
            points[place][0] += 0.25 * np.sign(plane[row, column + 1] - plane[row, column - 1])
        if 0 < row < height - 1:
            points[place][1] += 0.25 * np.sign(plane[row + 1, column] - plane[row - 1, column])
    return torch.from_numpy(points).to(heatmap.device), torch.from_numpy(scores).to(heatmap.device)


def nets_of_each(features: Tensor, parameters: Tensor, locations: Tensor, scales: Tensor, shape: KPNetShape) -> Tensor:
    """``inspose.kp_net.apply_kp_nets``, a picture and a person at a time."""
    given = (value.float().split(1) for value in (features, parameters, locations, scales))
    with torch.autocast(features.device.type, enabled=False):
        pictures = zip(*given, strict=True)
        return torch.cat([loop(maps, nets, places, sizes, shape) for maps, nets, places, sizes in pictures])


def peaks_of_each(maps: Tensor, is_inside: Tensor, offsets: Tensor | None, stride: int) -> Tensor:
    """``inspose.decode.read_keypoints`` in numpy, a person and a keypoint at a time."""
    logits, inside = maps.cpu().numpy(), is_inside.cpu().numpy()
    moves = None if offsets is None else offsets.cpu().numpy()
    found = np.zeros((*maps.shape[:3], 3), np.float32)
    for image, person, joint in np.ndindex(*maps.shape[:3]):
        plane = np.where(inside[image], logits[image, person, joint], -np.inf)
        row, column = np.unravel_index(plane.argmax(), plane.shape)
        right, down = (0.5, 0.5) if moves is None else moves[image, joint, :, row, column]
        score = 1 / np.exp(plane - plane[row, column]).sum()
        found[image, person, joint] = ((column + right) * stride, (row + down) * stride, score)
    return torch.from_numpy(found).to(maps.device)


def _as_table(form: Callable[..., list[dict[int, int]]], candidates: Any, route: Any, **options: Any) -> Any:
    """People that a plain grouping finds, as ours gives them: i64 [m, K], −1 without."""
    people = form(candidates, route)
    table = np.full((len(people), COCO.num_keypoints), -1, dtype=np.int64)
    for row, person in enumerate(people):
        for joint, candidate in person.items():
            table[row, joint] = candidate
    return table


def scores_of_each(candidates: Candidates, table: Tensor, scores: Tensor, parts: Parts, config: DecodeConfig) -> People:
    """``openpose_ssal.assembly.assemble`` with the matching before it, connection by connection: scores, no points."""
    found = [torch.tensor(people[: config.max_persons]) for people in plain_assembly(candidates, scores, parts)]
    totals = nn.utils.rnn.pad_sequence(found, batch_first=True).to(scores.device)
    points = totals.new_zeros(*totals.shape, len(parts.names), 2)
    return People(points, points[..., 0], totals, totals > 0)


FORMS: dict[str, dict[str, Callable[..., Any]]] = {
    "inspose": {"decode.apply_kp_nets": nets_of_each, "decode.read_keypoints": peaks_of_each},
    "ssn": {"decode.quarter_peaks": quarter_of_each},
    "graph_pcnn": {"graph_refinement.GraphConvolution.forward": edge_by_edge},
    "ssa": {
        "decode.part_first": partial(_as_table, plain_part_first),
        "decode.body_first": partial(_as_table, plain_body_first),
    },
    "openpose_ssal": {"decode.greedy_matching": lambda scores: scores, "decode.assemble": scores_of_each},
}
"""What stands for what of a paper, by where it is."""
CONTENTS = {
    "inspose": "all but the network: KP-Nets, peaks, suppression",
    "ssn": "all but the network: average with the mirror image, peaks, way back to the photograph",
    "graph_pcnn": "all but the heatmaps: average with the mirror image, peaks, refinement, way back to the photograph",
    "ssa": "peaks, attention, grouping, masks",
    "openpose_ssal": "peaks, limbs, matching, assembly",
}
"""What decoding is made of."""
READ_LESS = {
    "inspose": "it has the maps already",
    "ssn": "it starts from averaged heatmaps and ends in the crop",
    "graph_pcnn": "it refines nothing, starts from averaged heatmaps and ends in the crop",
}
"""Why others' decoding may take less."""
ONE_BY_ONE = {
    "inspose": "KP-Nets person by person, peaks keypoint by keypoint in numpy",
    "ssn": "peaks joint by joint in numpy",
    "graph_pcnn": "peaks joint by joint in numpy, messages edge by edge",
    "ssa": "grouping with sums made one by one",
    "openpose_ssal": "matching pair by pair, assembly connection by connection",
}
"""What the straightforward form does otherwise."""


def maps_in_boxes(batch: PoseBatch, setting: Setting) -> Run:
    """torchvision's reading of ``FOUND`` people's keypoint maps, enlarged to the true people's boxes in turn."""
    from torchvision.models.detection.roi_heads import keypointrcnn_inference

    boxes = batch.persons.boxes[batch.persons.is_real]
    boxes = boxes.repeat(-(-FOUND // len(boxes)), 1)[:FOUND]
    maps = torch.randn(FOUND, COCO.num_keypoints, 56, 56, device=boxes.device)
    return lambda: keypointrcnn_inference(maps, [boxes])


def mmposes_codec(batch: PoseBatch, setting: Setting) -> Run:
    """MMPose's way from the heatmaps of crops, averaged with the mirror image's, to places in the crops."""
    stand_in_for_extensions()
    from mmpose.codecs import MSRAHeatmap

    size, (height, width) = len(batch.images), batch.images.shape[-2:]
    codec = MSRAHeatmap((width, height), (width // 4, height // 4), sigma=2)
    maps = torch.rand(size, COCO.num_keypoints, height // 4, width // 4, device=batch.images.device)
    return lambda: [codec.decode(each) for each in maps.cpu().numpy()]


READING = {
    "Keypoint R-CNN's maps of as many people": Peer(maps_in_boxes),
    "MMPose's codec of averaged heatmaps": Peer(mmposes_codec, ("mmpose", "mmcv", "mmengine")),
}
READERS: dict[str, tuple[str, ...]] = {
    "inspose": ("Keypoint R-CNN's maps of as many people",),
    "ssn": ("MMPose's codec of averaged heatmaps",),
    "graph_pcnn": ("MMPose's codec of averaged heatmaps",),
    "ssa": (),
    "openpose_ssal": (),
}
"""Of ``READING``, by paper."""
NOBODYS = {"ssa": "no public implementation", "openpose_ssal": "OpenPose's own is part of its C++ program"}
"""Why a paper has no reader."""
