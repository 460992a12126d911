"""Two test processes share two cores: one thread each keeps them honest and fast."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("WANDB_SILENT", "true")
os.environ.setdefault("MPLBACKEND", "Agg")

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _default_sigint() -> Iterator[None]:
    """Gives every test, and what it starts, Python's own SIGINT: a background job inherits it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def person():
    """Entry of one person: ``person(1, image_id=1)``, all 17 joints visible inside the box unless told otherwise."""

    def build(entry_id: int, image_id: int = 1, **changes: Any) -> dict[str, Any]:
        x, y, width, height = changes.get("bbox", [4.0, 6.0, 20.0, 24.0])
        keypoints = [v for k in range(17) for v in (int(x + width * (k + 1) / 20), int(y + height * (k + 1) / 20), 2)]
        entry = {
            "id": entry_id,
            "image_id": image_id,
            "category_id": 1,
            "iscrowd": 0,
            "bbox": [x, y, width, height],
            "area": width * height / 2,
            "keypoints": keypoints,
            "num_keypoints": 17,
            "segmentation": [[x, y, x + width, y, x + width, y + height, x, y + height]],
        }
        return {**entry, **changes}

    return build


@pytest.fixture
def write_coco(tmp_path: Path):
    """Writes a folder in COCO's layout: ``write_coco(annotations, images={id: (height, width)})`` gives its root."""

    def write(
        annotations: list[dict[str, Any]],
        images: dict[int, tuple[int, int]] | None = None,
        splits: tuple[str, ...] = ("train2017", "val2017"),
        **content: Any,
    ) -> Path:
        from PIL import Image

        images = {1: (40, 60)} if images is None else images
        generator = np.random.default_rng(0)
        for split in splits:
            folder = tmp_path / split
            folder.mkdir(exist_ok=True)
            for image_id, (height, width) in images.items():
                pixels = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{image_id}.png")
            (tmp_path / "annotations").mkdir(exist_ok=True)
            document = {
                "images": [
                    {"id": image_id, "file_name": f"{image_id}.png", "height": height, "width": width}
                    for image_id, (height, width) in images.items()
                ],
                "annotations": annotations,
                "categories": [{"id": 1, "name": "person"}],
                **content,
            }
            (tmp_path / "annotations" / f"person_keypoints_{split}.json").write_text(json.dumps(document))
        return tmp_path

    return write


@pytest.fixture(scope="session")
def coco_mini() -> Path:
    """A small real COCO, from ``POSE_COCO_MINI`` or beside the repository; skips where there is none."""
    beside = [parent / "shared" / "coco_mini" for parent in ROOT.parents]
    for candidate in (os.environ.get("POSE_COCO_MINI"), *beside):
        if candidate and (Path(candidate) / "annotations").is_dir():
            return Path(candidate)
    pytest.skip("no small COCO: set POSE_COCO_MINI to its folder")
