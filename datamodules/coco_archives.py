"""COCO 2017's archives: fetched so that an interruption costs nothing, verified, unpacked so that nothing escapes."""

from __future__ import annotations

import hashlib
import shutil
import stat
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

Progress = Callable[[str, int, int], None]
"""Called with what is being done, bytes done and bytes in all."""

BASE_URL = "http://images.cocodataset.org"
_CHUNK = 1 << 20
_ATTEMPTS = 5


class DownloadError(ValueError):
    """One line: what could not be had, and what to do."""


class Archive(NamedTuple):
    """A zip file and what is wanted of it."""

    path: str
    """Below the base address."""
    size: int
    """Bytes."""
    md5: str
    members: tuple[str, ...]
    """Beginnings of the names that are unpacked."""

    @property
    def name(self) -> str:
        return self.path.rsplit("/", 1)[-1]


ANNOTATIONS = Archive(
    "annotations/annotations_trainval2017.zip",
    252_907_541,
    "f4bbac642086de4f52a3fdda2de5fa2c",
    ("annotations/person_keypoints_",),
)
IMAGES = {
    "train": Archive("zips/train2017.zip", 19_336_861_798, "cced6f7f71b7629ddf16f17bbcfab6b2", ("train2017/",)),
    "val": Archive("zips/val2017.zip", 815_585_330, "442b8da7639aecaf257c1dceb8ba8c80", ("val2017/",)),
}


def obtain(
    archive: Archive, root: Path, base_url: str = BASE_URL, *, keep: bool = False, progress: Progress | None = None
) -> None:
    """Fetch, verify and unpack ``archive`` into ``root``; what an earlier call finished, and is there, is left.

    Args:
        keep: keep the zip file in ``root/.download``.

    Raises:
        DownloadError: no room, no answer, other bytes than COCO's, or an archive that is damaged or leads out of
            ``root``. Bytes already fetched stay for the next attempt, except where they proved wrong.
    """
    report = progress or (lambda what, done, total: None)
    folder = root / ".download"
    done = folder / f"{archive.name}.done"
    if done.exists() and all(any(root.glob(f"{member}*")) for member in archive.members):
        return
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / archive.name
    if not (file.exists() and file.stat().st_size == archive.size):
        _fetch(archive, f"{base_url.rstrip('/')}/{archive.path}", file, report)
    unpack(file, root, archive.members, report)
    done.touch()
    if not keep:
        file.unlink()


def _fetch(archive: Archive, url: str, file: Path, report: Progress) -> None:
    """Fetch ``url`` into ``file``, going on where ``file.part`` ends."""
    part = file.with_name(f"{file.name}.part")
    have = part.stat().st_size if part.exists() else 0
    free = shutil.disk_usage(file.parent).free
    if free < 2 * archive.size - have:  # the photographs are as large again
        needed = (2 * archive.size - have) / 1e9
        raise DownloadError(f"{file.parent}: {needed:.1f} GB are needed, {free / 1e9:.1f} GB are free; make room")
    failures = 0
    while have < archive.size:
        try:
            _fetch_rest(url, part, have, archive, report)
            problem = "the connection ended early"
        except (OSError, HTTPException) as error:
            if isinstance(error, urllib.error.HTTPError) and error.code < 500:
                raise DownloadError(f"{url}: {error.code} {error.reason}; check --base-url") from error
            problem = str(getattr(error, "reason", error))
        before, have = have, part.stat().st_size if part.exists() else 0
        failures = 0 if have > before else failures + 1
        if have < archive.size and failures == _ATTEMPTS:
            raise DownloadError(f"{url}: {problem}; run the command again to go on at {have} of {archive.size} bytes")
        if failures:
            time.sleep(2.0 ** (failures - 1))
    _verify(archive, url, part, report)
    part.replace(file)


def _fetch_rest(url: str, part: Path, have: int, archive: Archive, report: Progress) -> None:
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=60) as answer:
        goes_on = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        done = have if goes_on else 0
        length = answer.headers.get("Content-Length")
        if length is not None and done + int(length) != archive.size:
            raise DownloadError(f"{url}: {done + int(length)} bytes, COCO's has {archive.size}; check --base-url")
        with part.open("ab" if goes_on else "wb") as file:
            while chunk := answer.read(_CHUNK):
                file.write(chunk)
                done += len(chunk)
                report(archive.name, done, archive.size)


def _verify(archive: Archive, url: str, part: Path, report: Progress) -> None:
    digest = hashlib.md5(usedforsecurity=False)
    done = 0
    with part.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            done += len(chunk)
            report(f"verifying {archive.name}", done, archive.size)
    if done != archive.size or digest.hexdigest() != archive.md5:
        part.unlink()
        raise DownloadError(f"{url}: not COCO's bytes (MD5 {digest.hexdigest()}, expected {archive.md5}); run it again")


def unpack(file: Path, root: Path, members: tuple[str, ...], progress: Progress | None = None) -> int:
    """Unpack the members of the zip ``file`` that begin with one of ``members`` below ``root``; return how many.

    A file already there in full is left; one is never there in part.

    Raises:
        DownloadError: the archive is damaged, holds nothing of ``members``, or a member leads out of ``root`` or is
            a link. Nothing is written before all names are checked.
    """
    report = progress or (lambda what, done, total: None)
    try:
        with zipfile.ZipFile(file) as archive:
            wanted = [info for info in archive.infolist() if info.filename.startswith(members) and not info.is_dir()]
            if not wanted:
                raise DownloadError(f"{file}: holds nothing of {', '.join(members)}; delete it and run it again")
            targets = [_target(file, info, root) for info in wanted]
            total, done = sum(info.file_size for info in wanted), 0
            for info, target in zip(wanted, targets, strict=True):
                if not (target.is_file() and target.stat().st_size == info.file_size):
                    _write_member(archive, info, target)
                done += info.file_size
                report(f"unpacking {file.name}", done, total)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise DownloadError(f"{file}: damaged ({error}); delete it and run it again") from error
    return len(wanted)


def _write_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    with archive.open(info) as source, part.open("wb") as sink:
        shutil.copyfileobj(source, sink, _CHUNK)  # the end of the member checks its CRC
    part.replace(target)


def _target(file: Path, info: zipfile.ZipInfo, root: Path) -> Path:
    parts = info.filename.replace("\\", "/").split("/")
    is_link = stat.S_ISLNK(info.external_attr >> 16)
    target = root.joinpath(*parts)
    inside = target.resolve().is_relative_to(root.resolve()) or _follows_own_link(target, root)
    if is_link or ".." in parts or "" in parts or ":" in info.filename or not inside:
        raise DownloadError(f"{file}: member {info.filename!r} leads out of {root}; the archive is not COCO's")
    return target


def _follows_own_link(target: Path, root: Path) -> bool:
    """Whether only the split's folder itself, put there by the user, is a link: photographs may lie elsewhere."""
    return target.parent.parent == root and target.parent.is_symlink() and not target.is_symlink()
