import hashlib
import io
import shutil
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from datamodules import coco_archives
from datamodules.coco_archives import Archive, DownloadError, obtain, unpack


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(coco_archives.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(coco_archives, "_CHUNK", 1 << 12)


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


NOISE = np.random.default_rng(0).bytes(60_000)
DATA = zipped({"val2017/1.jpg": NOISE, "val2017/2.jpg": b"two", "other/readme.txt": b"no"})


class Server:
    """Serves ``data`` at every address; each answer ends after the next number of bytes in ``cuts``."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.cuts: list[int] = []
        self.ranges: list[str | None] = []
        self.status: int | None = None
        self.with_ranges = True
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        wanted = handler.headers.get("Range")
        self.ranges.append(wanted)
        if self.status:
            handler.send_error(self.status)
            return
        first = int(wanted[6:-1]) if wanted and self.with_ranges else 0
        handler.send_response(206 if wanted and self.with_ranges else 200)
        if wanted and self.with_ranges:
            handler.send_header("Content-Range", f"bytes {first}-{len(self.data) - 1}/{len(self.data)}")
        handler.send_header("Content-Length", str(len(self.data) - first))
        handler.end_headers()
        cut = self.cuts.pop(0) if self.cuts else len(self.data)
        handler.wfile.write(self.data[first : first + cut])


@pytest.fixture
def server():
    served = Server(DATA)
    yield served
    served.server.shutdown()


def archive(data: bytes = DATA, **changes) -> Archive:
    return Archive("zips/val2017.zip", len(data), hashlib.md5(data).hexdigest(), ("val2017/",))._replace(**changes)


def test_an_archive_is_fetched_verified_and_unpacked(server, tmp_path):
    seen = []
    obtain(archive(), tmp_path, server.url, progress=lambda *state: seen.append(state))
    assert (tmp_path / "val2017/1.jpg").read_bytes() == NOISE
    assert (tmp_path / "val2017/2.jpg").read_bytes() == b"two"
    assert not (tmp_path / "other").exists()
    assert [path.name for path in (tmp_path / ".download").iterdir()] == ["val2017.zip.done"]
    assert ("val2017.zip", len(DATA), len(DATA)) in seen
    assert ("unpacking val2017.zip", 60_003, 60_003) in seen
    obtain(archive(), tmp_path, "http://127.0.0.1:1")


def test_what_was_deleted_is_fetched_again(server, tmp_path):
    obtain(archive(), tmp_path, server.url)
    shutil.rmtree(tmp_path / "val2017")
    obtain(archive(), tmp_path, server.url)
    assert (tmp_path / "val2017/1.jpg").read_bytes() == NOISE
    assert len(server.ranges) == 2


def test_an_interrupted_transfer_goes_on(server, tmp_path):
    server.cuts = [20_000, 10_000]
    obtain(archive(), tmp_path, server.url, keep=True)
    assert server.ranges == [None, "bytes=20000-", "bytes=30000-"]
    assert (tmp_path / ".download/val2017.zip").read_bytes() == DATA


def test_a_later_call_goes_on(server, tmp_path):
    server.cuts = [20_000] + [0] * 20
    with pytest.raises(DownloadError, match="run the command again to go on at 20000 of"):
        obtain(archive(), tmp_path, server.url)
    server.cuts, server.ranges = [], []
    obtain(archive(), tmp_path, server.url)
    assert server.ranges == ["bytes=20000-"]
    assert (tmp_path / "val2017/1.jpg").read_bytes() == NOISE


def test_a_server_without_ranges_begins_again(server, tmp_path):
    server.with_ranges = False
    server.cuts = [20_000]
    obtain(archive(), tmp_path, server.url)
    assert (tmp_path / "val2017/1.jpg").read_bytes() == NOISE


def test_other_bytes_are_refused_and_forgotten(server, tmp_path):
    server.data = DATA[:-1] + b"!"
    with pytest.raises(DownloadError, match="not COCO's bytes"):
        obtain(archive(), tmp_path, server.url)
    assert list((tmp_path / ".download").iterdir()) == []
    assert not (tmp_path / "val2017").exists()


def test_another_size_is_refused_at_once(server, tmp_path):
    with pytest.raises(DownloadError, match=rf"{len(DATA)} bytes, COCO's has {len(DATA) + 1}"):
        obtain(archive(size=len(DATA) + 1), tmp_path, server.url)
    assert len(server.ranges) == 1


def test_what_is_not_there_is_told_at_once(server, tmp_path):
    server.status = 404
    with pytest.raises(DownloadError, match=r"zips/val2017\.zip: 404 Not Found; check --base-url"):
        obtain(archive(), tmp_path, server.url)
    assert len(server.ranges) == 1


def test_a_failing_server_is_asked_five_times(server, tmp_path):
    server.status = 503
    with pytest.raises(DownloadError, match="Service Unavailable; run the command again"):
        obtain(archive(), tmp_path, server.url)
    assert len(server.ranges) == 5
    with pytest.raises(DownloadError, match="refused"):
        obtain(archive(), tmp_path, "http://127.0.0.1:1")


def test_no_room_is_told_before_the_first_byte(server, tmp_path):
    with pytest.raises(DownloadError, match="GB are needed"):
        obtain(archive(size=10**18), tmp_path, server.url)
    assert server.ranges == []


def test_unpacking_goes_on_and_repairs(tmp_path):
    file = tmp_path / "a.zip"
    file.write_bytes(DATA)
    (tmp_path / "val2017").mkdir()
    (tmp_path / "val2017/1.jpg").write_bytes(NOISE[:100])
    assert unpack(file, tmp_path, ("val2017/",)) == 2
    assert (tmp_path / "val2017/1.jpg").read_bytes() == NOISE
    written = (tmp_path / "val2017/2.jpg").stat().st_mtime_ns
    unpack(file, tmp_path, ("val2017/",))
    assert (tmp_path / "val2017/2.jpg").stat().st_mtime_ns == written


@pytest.mark.parametrize(
    "name", ["val2017/../../x", "val2017//etc/x", "val2017/a/../b", "val2017/C:x", "val2017\\..\\x"]
)
def test_members_that_lead_out_are_refused(tmp_path, name):
    file = tmp_path / "a.zip"
    file.write_bytes(zipped({"val2017/1.jpg": b"1", name: b"x"}))
    root = tmp_path / "root"
    root.mkdir()
    with pytest.raises(DownloadError, match="leads out of"):
        unpack(file, root, ("val2017",))
    assert list(root.iterdir()) == []


def test_links_are_refused(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo("val2017/1.jpg")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    file = tmp_path / "a.zip"
    file.write_bytes(buffer.getvalue())
    with pytest.raises(DownloadError, match="leads out of"):
        unpack(file, tmp_path, ("val2017/",))


def test_existing_links_lead_nowhere(tmp_path):
    """A link below a split's folder is refused; the folder itself may lie elsewhere."""
    file = tmp_path / "a.zip"
    file.write_bytes(zipped({"val2017/sub/1.jpg": b"1"}))
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "val2017").mkdir(parents=True)
    outside.mkdir()
    (root / "val2017/sub").symlink_to(outside)
    with pytest.raises(DownloadError, match="leads out of"):
        unpack(file, root, ("val2017/",))
    (root / "val2017/sub").unlink()
    (root / "val2017").rmdir()
    (root / "val2017").symlink_to(outside)
    file.write_bytes(zipped({"val2017/1.jpg": b"1"}))
    unpack(file, root, ("val2017/",))
    assert (outside / "1.jpg").read_bytes() == b"1"


@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_damaged_archives_are_refused(tmp_path, damage):
    file = tmp_path / "a.zip"
    file.write_bytes(DATA[:-200] if damage == "truncated" else DATA[:30_000] + b"XXXX" + DATA[30_004:])
    with pytest.raises(DownloadError, match="damaged"):
        unpack(file, tmp_path, ("val2017/",))
    assert not (tmp_path / "val2017/1.jpg").exists()


def test_a_damaged_member_that_is_compressed_is_refused(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("val2017/1.jpg", bytes(range(256)) * 100 + NOISE)
    data = buffer.getvalue()
    file = tmp_path / "a.zip"
    file.write_bytes(data[:60] + b"\xff" * 30 + data[90:])
    with pytest.raises(DownloadError, match=r"a\.zip: damaged \(Error -3"):
        unpack(file, tmp_path, ("val2017/",))


def test_an_archive_of_something_else_is_refused(tmp_path):
    file = tmp_path / "a.zip"
    file.write_bytes(DATA)
    with pytest.raises(DownloadError, match="holds nothing of train2017/"):
        unpack(file, tmp_path, ("train2017/",))
