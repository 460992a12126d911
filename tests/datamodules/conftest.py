"""Annotated people without photographs, and results that find them exactly."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datamodules.skeleton import COCO

SIZE = 200.0
"""Square root of every person's area."""


@pytest.fixture
def people_file(tmp_path: Path):
    """``people_file(images, people)`` writes annotations of upright people far apart and gives (file, content)."""

    def write(images: int = 6, people: int = 3) -> tuple[Path, dict[str, Any]]:
        entries = []
        for image_id in range(1, images + 1):
            for person in range(people if image_id != 2 else 0):  # one image is empty
                keypoints = [[*_joint(k, 600.0 * person), 2] for k in range(COCO.num_keypoints)]
                entries.append(
                    {
                        "id": 100 * image_id + person + 1,
                        "image_id": image_id,
                        "category_id": 1,
                        "iscrowd": 0,
                        "area": SIZE**2,
                        "bbox": [600.0 * person, 0.0, 200.0, 400.0],
                        "num_keypoints": 17,
                        "keypoints": np.array(keypoints).reshape(-1).tolist(),
                    }
                )
        content = {
            "images": [{"id": n, "file_name": f"{n}.png", "height": 500, "width": 2000} for n in range(1, images + 1)],
            "annotations": entries,
            "categories": [{"id": 1, "name": "person"}],
        }
        file = tmp_path / "people.json"
        file.write_text(json.dumps(content))
        return file, content

    return write


@pytest.fixture
def exact():
    """``exact(content)``: result entries that say just what is annotated, their scores all different."""

    def build(content: dict[str, Any]) -> list[dict[str, Any]]:
        scores = np.random.default_rng(0).permutation(len(content["annotations"])) / 100 + 0.1
        return [
            {
                "image_id": entry["image_id"],
                "category_id": 1,
                "keypoints": [float(value) for value in entry["keypoints"]],
                "score": float(score),
            }
            for entry, score in zip(content["annotations"], scores, strict=True)
        ]

    return build


@pytest.fixture
def noisy(exact):
    """``noisy(content, seed, pixels)``: as ``exact``, every keypoint off by normal noise, every fourth person twice."""

    def build(content: dict[str, Any], seed: int, pixels: float) -> list[dict[str, Any]]:
        generator = np.random.default_rng(seed)
        entries = exact(content)
        entries += [{**entry, "score": entry["score"] / 2} for entry in entries[::4]]
        for entry in entries:
            points = np.array(entry["keypoints"]).reshape(-1, 3)
            points[:, :2] += generator.normal(0, pixels * generator.uniform(0.2, 2), (17, 2))
            entry["keypoints"] = points.reshape(-1).tolist()
        return entries

    return build


def _joint(k: int, left: float) -> tuple[float, float]:
    x = {"left": 30.0, "right": 170.0, "middle": 100.0}[COCO.side(k)]
    return left + x, 20.0 * k
