"""OpenPose's assembly of people from matched limbs, for a whole batch, against one connection after another.

    python -m experiments.benchmarks.paf_assembly

Eight photographs of 20 people each; limbs of one person score highly, some are missing. Both forms find the same.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from datamodules.skeleton import COCO
from experiments.benchmarks.measuring import Line, Setting
from lightning_modules.openpose_ssal.assembly import assemble
from lightning_modules.openpose_ssal.candidates import Candidates
from lightning_modules.openpose_ssal.config import DecodeConfig
from lightning_modules.openpose_ssal.matching import greedy_matching
from lightning_modules.openpose_ssal.parts import Parts, parts_of

CONFIG = DecodeConfig(max_persons=200)


def scene(images: int, people: int, parts: Parts) -> tuple[Candidates, Tensor]:
    """Candidates [B, N, M] and scores of their pairs [B, L, M, M]; person m is candidate m of every part."""
    generator = torch.Generator().manual_seed(0)
    count, limbs = len(parts.names), len(parts.limbs)
    peaks = 0.2 + 0.8 * torch.rand(images, count, people, generator=generator)
    points = 400 * torch.rand(images, count, people, 2, generator=generator)
    scores = 0.3 * torch.rand(images, limbs, people, people, generator=generator) + torch.eye(people)
    refused = torch.rand(scores.shape, generator=generator) < torch.where(torch.eye(people) > 0, 0.1, 0.8)
    real = torch.ones_like(peaks, dtype=torch.bool)
    return Candidates(points, peaks, real), scores.masked_fill(refused, -torch.inf)


def plain_matching(scores: Tensor) -> list[list[list[int]]]:
    """Best pair first, limb by limb, image by image -> partner of each parent, −1 without."""
    found = []
    for image in scores.tolist():
        partners = []
        for table in image:
            size = len(table)
            pairs = [(table[a][b], a, b) for a in range(size) for b in range(size) if table[a][b] > -torch.inf]
            partner, taken = [-1] * size, set()
            for _, a, b in sorted(pairs, key=lambda pair: -pair[0]):
                if partner[a] < 0 and b not in taken:
                    partner[a] = b
                    taken.add(b)
            partners.append(partner)
        found.append(partners)
    return found


def plain_assembly(candidates: Candidates, scores: Tensor, parts: Parts) -> list[list[float]]:
    """Scores of the people of each image, best first."""
    partners, tables, peaks = plain_matching(scores), scores.tolist(), candidates.scores.tolist()
    return [_people(*image, parts) for image in zip(partners, tables, peaks, strict=True)]


def _people(partner: list[list[int]], scores: list[Any], peaks: list[list[float]], parts: Parts) -> list[float]:
    people: list[dict[str, Any]] = []

    def owner(part: int, candidate: int) -> dict[str, Any] | None:
        return next((person for person in people if person["parts"].get(part) == candidate), None)

    for limb in (*parts.tree, *parts.closing):
        start, end = parts.limbs[limb]
        for a, b in enumerate(partner[limb]):
            if b < 0:
                continue
            score, first, second = scores[limb][a][b], owner(start, a), owner(end, b)
            if limb in parts.tree:
                if first is None:
                    first = {"parts": {start: a}, "limbs": 0.0}
                    people.append(first)
                first["parts"][end] = b
                first["limbs"] += score
            elif first is not None and second is not None and first is not second:
                if not first["parts"].keys() & second["parts"].keys():
                    first["parts"] |= second["parts"]
                    first["limbs"] += second["limbs"] + score
                    people.remove(second)
            elif first is not None and second is None and end not in first["parts"]:
                first["parts"][end] = b
                first["limbs"] += score
    kept = []
    for person in people:
        count = len(person["parts"])
        total = person["limbs"] + sum(peaks[part][candidate] for part, candidate in person["parts"].items())
        if count >= CONFIG.min_parts and total / count >= CONFIG.min_mean_score:
            kept.append(total * count)
    return sorted(kept, reverse=True)


def ours(candidates: Candidates, scores: Tensor, parts: Parts) -> Tensor:
    return assemble(candidates, greedy_matching(scores), scores, parts, CONFIG).scores


def lines(setting: Setting, images: int = 8, people: int = 20) -> list[Line]:
    """The naive form is on the host, whatever the device."""
    parts = parts_of(COCO)
    candidates, scores = scene(images, people, parts)
    there = Candidates(*(value.to(setting.device) for value in candidates))
    table = scores.to(setting.device)
    runs = {
        "loop": lambda: plain_assembly(candidates, scores, parts),
        "ours": lambda: ours(there, table, parts),
        "limit": lambda: table.amax(dim=-1),
    }
    times = setting.race(runs, repeats=3)
    note = (
        f"{images} photographs of {people} people; naive: pair by pair, connection by connection, in Python; "
        "limit: the best of every candidate's pairs, one pass"
    )
    columns = (times["ours"], times["loop"], None, times["limit"])
    without = {"peer": "OpenPose's own is part of its C++ program"}
    return [Line("PAF matching and assembly", *columns, asked=1.0, note=note, without=without)]


def main() -> None:
    for line in lines(Setting()):
        print(f"{line.name}: loops {line.naive:.1f} ms, ours {line.ours:.1f} ms")


if __name__ == "__main__":
    main()
