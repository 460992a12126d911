import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from datamodules.photographs import ImageError, check_photograph, header_size, read_photograph

LIMIT = 10_000_000


@pytest.fixture
def pixels():
    noise = np.random.default_rng(0).integers(0, 256, (24, 36, 3), dtype=np.uint8)
    return cv2.GaussianBlur(noise, (7, 7), 2)


@pytest.fixture
def save(tmp_path, pixels):
    def write(name, mode="RGB", **options):
        path = tmp_path / name
        Image.fromarray(pixels).convert(mode).save(path, **options)
        return path

    return write


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("a.jpg", "RGB"),
        ("a.jpg", "L"),
        ("a.jpg", "CMYK"),
        ("a.png", "RGB"),
        ("a.png", "RGBA"),
        ("a.png", "L"),
        ("a.png", "P"),
        ("a.webp", "RGB"),
        ("a.bmp", "RGB"),
        ("a.tif", "CMYK"),
    ],
)
@pytest.mark.fault(6, "grayscale, CMYK, palette, alpha", "three channels")
def test_every_kind_of_file_becomes_three_channels(save, pixels, name, mode):
    path = save(name, mode)
    image = read_photograph(path, (24, 36), LIMIT)
    with Image.open(path) as stored:
        expected = np.asarray(stored.convert("RGB"))
    assert image.dtype == np.uint8
    assert image.shape == (24, 36, 3)
    assert np.abs(image.astype(int) - expected).max() <= 1
    check_photograph(path, (24, 36), LIMIT)


@pytest.mark.fault(6, "16 bits", "the high byte")
def test_sixteen_bits_keep_the_high_byte(tmp_path, pixels):
    path = tmp_path / "deep.png"
    Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(path)
    image = read_photograph(path, (24, 36), LIMIT)
    np.testing.assert_array_equal(image, np.repeat(pixels[..., :1], 3, axis=2))


@pytest.mark.fault(6, "EXIF rotation", "upright as stored")
def test_exif_rotation_is_ignored_as_coco_does(save, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    rotated = save("rotated.jpg", exif=exif, quality=95)
    plain = save("plain.jpg", quality=95)
    np.testing.assert_array_equal(read_photograph(rotated, (24, 36), LIMIT), read_photograph(plain, (24, 36), LIMIT))


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.fault(6, "1×1", "loaded")
def test_one_pixel(tmp_path, suffix):
    path = tmp_path / f"one.{suffix}"
    Image.new("RGB", (1, 1), (200, 200, 200)).save(path)
    assert read_photograph(path, (1, 1), LIMIT).shape == (1, 1, 3)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
@pytest.mark.fault(5, "photograph truncated", "named; refused")
def test_truncated_files_are_refused(save, suffix, share):
    path = save(f"cut.{suffix}")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    for read in (read_photograph, check_photograph):
        with pytest.raises(ImageError, match=rf"cut\.{suffix}: truncated or damaged .*; replace the file"):
            read(path, (24, 36), LIMIT)


def test_a_thumbnail_does_not_hide_a_truncation(save):
    thumbnail = io.BytesIO()
    Image.new("RGB", (4, 4)).save(thumbnail, "JPEG")
    path = save("thumb.jpg", exif=b"Exif\0\0MM" + thumbnail.getvalue())
    read_photograph(path, (24, 36), LIMIT)
    data = path.read_bytes()
    path.write_bytes(data[:-200])
    with pytest.raises(ImageError, match="truncated"):
        read_photograph(path, (24, 36), LIMIT)


def test_bytes_after_the_end_do_no_harm(save):
    path = save("tail.jpg")
    expected = read_photograph(path, None, LIMIT)
    path.write_bytes(path.read_bytes() + b"\0\0tail")
    np.testing.assert_array_equal(read_photograph(path, None, LIMIT), expected)


@pytest.mark.parametrize("data", [b"", b"hello", b"\xff\xd8", b"\xff\xd8\xff\xe0\x00", b"\x89PNG\r\n\x1a\n", b"GIF89a"])
@pytest.mark.fault(5, "not an image", "named; refused")
def test_what_is_no_image_is_refused(tmp_path, data):
    path = tmp_path / "no.jpg"
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"no\.jpg: not an image that can be read"):
        read_photograph(path, None, LIMIT)


@pytest.mark.fault(5, "photograph missing", "named; refused")
def test_missing_file_and_folder(tmp_path):
    with pytest.raises(ImageError, match=r"gone\.jpg: No such file.*correct data\.root"):
        read_photograph(tmp_path / "gone.jpg", None, LIMIT)
    with pytest.raises(ImageError, match="Is a directory"):
        read_photograph(tmp_path, None, LIMIT)


@pytest.mark.fault(5, "another size than annotated", "both sizes named; refused")
def test_another_size_than_annotated_names_both(save):
    with pytest.raises(ImageError, match=r"the photograph is 36x24 but its annotation says 24x36 \(width x height\)"):
        read_photograph(save("a.jpg"), (36, 24), LIMIT)


@pytest.mark.fault(6, "20,000×20,000 in a few bytes", "refused undecoded; the limit named")
def test_a_bomb_is_refused_by_its_header(tmp_path):
    """20,000 x 20,000 in a file of a few bytes: nothing of it is decoded."""
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    path = tmp_path / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)))
    with pytest.raises(ImageError, match=r"bomb\.png: 20000x20000 is more than data\.max_image_pixels=100000000"):
        read_photograph(path, None, 100_000_000)


def test_progressive_headers_and_fill_bytes(save):
    path = save("progressive.jpg", progressive=True)
    data = path.read_bytes()
    assert header_size(data, path) == (24, 36)
    assert header_size(data[:2] + b"\xff\xff" + data[2:], path) == (24, 36)


KINDS = [
    *[("a.jpg", mode) for mode in ("RGB", "L", "CMYK")],
    *[("a.png", mode) for mode in ("RGB", "RGBA", "L", "P", "I;16")],
    *[(f"a.{suffix}", "RGB") for suffix in ("webp", "bmp", "tif", "gif")],
]


@pytest.mark.parametrize(("name", "mode"), KINDS)
def test_in_memory_that_is_given_it_is_the_same(save, tmp_path, name, mode):
    """To the last bit, also what OpenCV does not decode there, and of whatever the memory held."""
    path = tmp_path / name
    if mode == "I;16":
        Image.fromarray(np.arange(24 * 36, dtype=np.uint16).reshape(24, 36) * 70).save(path)
    else:
        save(name, mode)
    expected = read_photograph(path, (24, 36), LIMIT)
    memory = np.full((3, 24, 36, 3), 77, np.uint8)
    for place in (memory[1], memory[1]):
        assert read_photograph(path, (24, 36), LIMIT, place) is place
        np.testing.assert_array_equal(place, expected)
    assert (memory[[0, 2]] == 77).all()


@pytest.mark.parametrize("damage", ["cut", "head", "middle", "size", "gone"])
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_in_memory_that_is_given_faults_are_the_same(save, suffix, damage):
    """The same message, or the same pixels where the fault is not seen."""
    path = save(f"bad.{suffix}", **({"quality": 95} if suffix == "jpg" else {}))
    data = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(data[:-40])
    elif damage == "head":  # its size is read yet, and no decoder takes it
        data[2:4] = b"\x00\x00" if suffix == "png" else data[2:4]
        data[22:24] = b"\x00\x00"
        path.write_bytes(data)
    elif damage == "middle":
        data[len(data) // 2 : len(data) // 2 + 30] = bytes(range(30))
        path.write_bytes(data)
    elif damage == "gone":
        path.unlink()
    hw = (24, 35) if damage == "size" else (24, 36)
    found = []
    for place in (None, np.full((*hw, 3), 77, np.uint8)):
        try:
            found.append(read_photograph(path, hw, LIMIT, place).tolist())
        except ImageError as error:
            found.append(str(error))
    assert found[0] == found[1]


def test_what_opencv_leaves_untouched_is_read_another_way(save, monkeypatch):
    path = save("a.jpg")
    expected = read_photograph(path, (24, 36), LIMIT)
    monkeypatch.setattr(cv2, "imread", lambda path, into, flags: into)
    np.testing.assert_array_equal(read_photograph(path, (24, 36), LIMIT, np.zeros((24, 36, 3), np.uint8)), expected)


def test_a_workers_traceback_is_cut_to_its_line():
    trace = "Caught ImageError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
    text = f"{trace}datamodules.photographs.ImageError: a.jpg: x; y\n"
    assert str(ImageError(text)) == "a.jpg: x; y"


def test_real_photographs(coco_mini):
    for path in sorted((coco_mini / "val2017").glob("*.jpg"))[:20]:
        with Image.open(path) as stored:
            expected = np.asarray(stored.convert("RGB"))
        image = read_photograph(path, expected.shape[:2], LIMIT)
        assert np.abs(image.astype(int) - expected).max() <= 2
