from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from experiments.prediction.inputs import (
    InputError,
    Kind,
    count_pictures,
    find_sources,
    number_images,
    read_pictures,
)


def picture(path: Path, seed: int = 0, hw: tuple[int, int] = (12, 16), orientation: int = 1) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(0, 256, (*hw, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif)
    return pixels


def video(path: Path, frames: int) -> Path:
    """Frame n is gray of value 8 n."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (32, 24))
    for number in range(frames):
        writer.write(np.full((24, 32, 3), 8 * number, np.uint8))
    writer.release()
    return path


def test_files_folders_globs_and_cameras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("b.png", "a.jpg", "notes.txt", ".hidden.png", "clip.avi", "deep/c.png"):
        (tmp_path / name).write_bytes(b"")
    names = [source.path.name for source in find_sources([str(tmp_path)])]
    assert names == ["a.jpg", "b.png", "clip.avi"]
    again = find_sources([str(tmp_path / "b.png"), str(tmp_path / "**" / "*.png"), str(tmp_path / "notes.txt")])
    assert [source.path.name for source in again] == ["b.png", "c.png", "notes.txt"]
    assert [source.kind for source in find_sources([str(tmp_path / "clip.avi"), "0"])] == [Kind.video, Kind.camera]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "7").write_bytes(b"")
    assert find_sources(["7"])[0].kind is Kind.image
    for wrong in ("none.jpg", "*.gif"):
        with pytest.raises(InputError, match="no such file"):
            find_sources([wrong])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no image"):
        find_sources(["empty"])


def test_images_keep_their_numbers_where_all_have_one(tmp_path: Path) -> None:
    for name in ("000000000139.jpg", "000000000724.jpg", "photo.jpg", "139.png"):
        (tmp_path / name).write_bytes(b"")

    def ids(*names: str) -> list[int]:
        return list(number_images(find_sources([str(tmp_path / name) for name in names])).values())

    assert ids("000000000139.jpg", "000000000724.jpg") == [139, 724]
    assert ids("000000000139.jpg", "photo.jpg") == [1, 2]
    assert ids("000000000139.jpg", "139.png") == [1, 2]


def test_pictures_come_upright_and_what_cannot_be_read_is_reported(tmp_path: Path) -> None:
    stored = picture(tmp_path / "a.png", orientation=6)
    picture(tmp_path / "b.png")
    whole = (tmp_path / "b.png").read_bytes()
    (tmp_path / "b.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "c.jpg").write_text("no image")
    picture(tmp_path / "d.png", hw=(40, 40))
    last = picture(tmp_path / "e.png", seed=5)
    lines: list[str] = []
    found = list(read_pictures(find_sources([str(tmp_path)]), lines.append, max_pixels=1000))
    assert [(one.name, one.image_id) for one in found] == [("a.png", 1), ("e.png", 5)]
    np.testing.assert_array_equal(found[0].pixels, np.rot90(stored, -1)[..., ::-1])
    np.testing.assert_array_equal(found[1].pixels, last[..., ::-1])
    assert len(lines) == 3
    assert all(name in line for name, line in zip(("b.png", "c.jpg", "d.png"), lines, strict=True))
    assert not any("\n" in line for line in lines)


def test_frames_of_a_video_in_order(tmp_path: Path) -> None:
    picture(tmp_path / "z.png")
    clip = video(tmp_path / "clip.avi", 6)
    sources = find_sources([str(clip), str(tmp_path / "z.png")])
    assert count_pictures(sources) == 7
    assert count_pictures(sources, limit=2) == 3
    lines: list[str] = []
    found = list(read_pictures(sources, lines.append, max_pixels=10**6))
    assert [one.name for one in found] == [*(f"clip.avi#{n}" for n in range(6)), "z.png"]
    assert [one.image_id for one in found] == [2, 3, 4, 5, 6, 7, 1]
    assert [round(float(one.pixels.mean()) / 8) for one in found[:-1]] == list(range(6))
    assert (found[2].frame, found[2].rate) == (2, 10.0)
    assert len(list(read_pictures(sources[:1], lines.append, max_pixels=10**6, limit=4))) == 4
    assert lines == []


def test_videos_that_end_early_or_are_none(tmp_path: Path) -> None:
    clip = video(tmp_path / "clip.avi", 30)
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    (tmp_path / "none.mp4").write_bytes(b"nothing")
    lines: list[str] = []
    found = list(read_pictures(find_sources([str(tmp_path)]), lines.append, max_pixels=10**6))
    assert len(found) < 30
    assert len(lines) == 2
    assert "clip.avi" in lines[0]
    assert "none.mp4: no frame can be read" in lines[1]
