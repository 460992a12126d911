from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from datamodules.config import DataConfig
from datamodules.skeleton import COCO
from datamodules.unlabelled import UnlabelledSamples
from experiments.benchmarks.video_race import HEIGHT, WIDTH, Race, render_video


def test_a_rendered_video_has_its_frames_and_the_camera_moves(tmp_path: Path) -> None:
    render_video(tmp_path / "video.mp4", 6, scenes=2)
    capture, frames = cv2.VideoCapture(str(tmp_path / "video.mp4")), []
    while (read := capture.read())[0]:
        frames.append(read[1].astype(int))
    assert len(frames) == 6
    assert frames[0].shape == (HEIGHT, WIDTH, 3)
    assert all(np.abs(one - other).mean() > 0.1 for one, other in pairwise(frames))


@pytest.mark.parametrize(("frames", "sizes"), [(3, [3]), (5, [4, 1]), (120, [4] * 30)])
def test_batches_are_of_as_many_frames_as_the_video_has(frames: int, sizes: list[int]) -> None:
    make = UnlabelledSamples(DataConfig(size=32), COCO)
    picture = np.zeros((32, 32, 3), np.uint8)
    race = object.__new__(Race)
    race.count, race.batch_size = frames, 4
    race.some = [make.collate()([make(picture, number)[0] for number in range(4)])]
    assert [len(batch.images) for batch in race.batches()] == sizes
