"""Suppression of boxes and of poses, batched with fixed shapes, against loops.

    python -m experiments.benchmarks.suppression

Boxes: 500 candidates of a picture, 100 come out, beside torchvision's compiled hard NMS. Poses: 30 people each in eight
photographs, beside MMPose's OKS-NMS, where it is installed. All forms keep the same.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import nms

from datamodules.skeleton import COCO
from experiments.benchmarks.measuring import Line, Run, Setting
from experiments.benchmarks.others import Other, file_of_package, tried
from lightning_modules.shared.oks import oks_nms
from lightning_modules.shared.suppression import Suppression, suppress

THRESHOLD = 0.6
OKS_THRESHOLD = 0.9
UNLIMITED = "what must be compared depends on who stays"


def boxes_of(candidates: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    places = torch.randint(0, 12, (candidates, 2), generator=generator) * 60.0
    corner = places + torch.rand(candidates, 2, generator=generator) * 12
    size = 60 + torch.rand(candidates, 2, generator=generator) * 20
    return torch.cat([corner, corner + size], dim=1), torch.rand(candidates, generator=generator)


def box_loop(boxes: Tensor, scores: Tensor, most: int) -> list[int]:
    """Best first, each compared with every one that is kept."""
    kept: list[int] = []
    table = boxes.tolist()
    for candidate in scores.argsort(descending=True, stable=True).tolist():
        x0, y0, x1, y1 = table[candidate]
        for other in kept:
            a0, b0, a1, b1 = table[other]
            overlap = max(0.0, min(x1, a1) - max(x0, a0)) * max(0.0, min(y1, b1) - max(y0, b0))
            if overlap / ((x1 - x0) * (y1 - y0) + (a1 - a0) * (b1 - b0) - overlap) > THRESHOLD:
                break
        else:
            kept.append(candidate)
            if len(kept) == most:
                break
    return kept


def box_ours(boxes: Tensor, scores: Tensor, most: int) -> Tensor:
    valid = torch.ones_like(scores, dtype=torch.bool)[None]
    return suppress(
        boxes[None], scores[None], valid, method=Suppression.hard, threshold=THRESHOLD, max_out=most
    ).indices[0]


def poses_of(images: int, people: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs of near twins: keypoints [B, N, K, 2], scores [B, N], areas [B, N]."""
    generator = torch.Generator().manual_seed(1)
    middles = torch.rand(images, people // 2, 1, 2, generator=generator) * 400
    own = middles + torch.rand(images, people // 2, 17, 2, generator=generator) * 80
    twins = own + torch.randn(own.shape, generator=generator)
    areas = torch.full((images, people), 6400.0)
    return torch.cat([own, twins], dim=1), torch.rand(images, people, generator=generator), areas


def pose_loop(points: np.ndarray, scores: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """One image after another, one pair after another, one joint after another."""
    stays = np.zeros(scores.shape, dtype=bool)
    for image in range(len(scores)):
        kept: list[int] = []
        for person in np.argsort(-scores[image], kind="stable").tolist():
            for other in kept:
                area, total = (areas[image, person] + areas[image, other]) / 2, 0.0
                for joint, sigma in enumerate(COCO.sigmas):
                    dx, dy = points[image, person, joint] - points[image, other, joint]
                    total += np.exp(-(dx * dx + dy * dy) / (2 * area * (2 * sigma) ** 2))
                if total / len(COCO.sigmas) > OKS_THRESHOLD:
                    break
            else:
                kept.append(person)
        stays[image, kept] = True
    return stays


def by_mmpose(points: np.ndarray, scores: np.ndarray, areas: np.ndarray) -> Run:
    """MMPose's, one image after another; it asks for dicts with three numbers a keypoint, made before."""
    suppress_poses = file_of_package("mmpose", "evaluation/functional/nms.py").oks_nms
    triples = np.concatenate([points, np.ones_like(points[..., :1])], axis=-1)
    images = [
        [{"keypoints": triple, "score": score, "area": area} for triple, score, area in zip(*image, strict=True)]
        for image in zip(triples, scores, areas, strict=True)
    ]
    sigmas = np.array(COCO.sigmas)
    return lambda: [suppress_poses(people, OKS_THRESHOLD, sigmas) for people in images]


def pose_ours(points: Tensor, scores: Tensor, areas: Tensor, sigmas: Tensor) -> Tensor:
    return oks_nms(points, scores, areas, torch.ones_like(scores, dtype=torch.bool), sigmas, OKS_THRESHOLD)


def lines(setting: Setting, candidates: int = 500, most: int = 100, images: int = 8, people: int = 30) -> list[Line]:
    boxes, scores = (value.to(setting.device) for value in boxes_of(candidates))
    times = setting.race(
        {
            "loop": lambda: box_loop(boxes, scores, most),
            "torchvision": lambda: nms(boxes, scores, THRESHOLD)[:most],
            "ours": lambda: box_ours(boxes, scores, most),
        }
    )
    note = (
        f"{candidates} boxes, {most} out; peer: torchvision's compiled hard NMS, one image at a time, on a CPU ours; "
        "on a device it would be waited for, so there ours has fixed shapes, whole batches and soft-NMS"
    )
    columns = (times["ours"], times["loop"], times["torchvision"])
    why = "on a CPU ours is the same call, and fixed shapes around it"
    boxed = Line("NMS of boxes", *columns, asked=1.0, note=note, without={"limit": UNLIMITED}, why_behind=why)
    return [boxed, pose_line(setting, images, people)]


def pose_line(setting: Setting, images: int, people: int) -> Line:
    """Naive and the peer are on the host, whatever the device."""
    poses = poses_of(images, people)
    there, arrays = [value.to(setting.device) for value in poses], [value.numpy() for value in poses]
    sigmas = torch.tensor(COCO.sigmas, device=setting.device)
    both = {"loop": lambda: pose_loop(*arrays), "ours": lambda: pose_ours(there[0], there[1], there[2], sigmas)}
    peers, missing = tried({"MMPose": Other("mmpose", lambda: by_mmpose(*arrays))})
    times = setting.race(both | peers, repeats=3)
    note = f"{images} photographs of {people} people; naive: pair by pair, joint by joint"
    note += "; peer: MMPose's, one image after another" if peers else ""
    without = {"limit": UNLIMITED} | ({} if peers else {"peer": missing[0]})
    columns = (times["ours"], times["loop"], times.get("MMPose"))
    return Line("OKS-NMS", *columns, asked=10.0, note=note, without=without)


def main() -> None:
    for line in lines(Setting()):
        print(
            f"{line.name}: loop {line.naive:.2f} ms, ours {line.ours:.2f} ms"
            + (f", torchvision {line.peer:.2f} ms" if line.peer else "")
        )


if __name__ == "__main__":
    main()
