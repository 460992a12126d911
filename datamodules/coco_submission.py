"""The zipped result file that COCO's evaluation server takes, written and checked by its published rules.

The rules (cocodataset.org, "Upload" and "Results Format"): a zip file named
``person_keypoints_<testset>_<alg>_results.zip`` that holds one JSON file of the same name and nothing else; the file is
a list of ``{image_id, category_id, keypoints, score}`` over images of the test set, persons only; coordinates are best
rounded to a tenth of a pixel. Images without people have no entry.
"""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import Any

from datamodules.result_files import ResultFileError, check_results
from datamodules.skeleton import COCO

TEST_SETS = ("test-dev2017", "val2017", "test-challenge2017")
PERSON = 1
_ALGORITHM = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*")
_ARCHIVE = re.compile(r"person_keypoints_(?P<set>[^_]+)_(?P<algorithm>.+)_results\.zip")


class SubmissionError(ValueError):
    """A file the server would refuse; one line that names the rule."""


def write_submission(results: list[dict[str, Any]], folder: Path, algorithm: str, test_set: str) -> Path:
    """Write the zip into ``folder`` and return its path. An older one of that name is replaced, once this is whole.

    Args:
        results: COCO's result format; only the four keys go in, coordinates rounded to a tenth of a pixel.
        algorithm: letters, digits, ``-`` and ``.``: underscores part the file's name.
        test_set: one of ``TEST_SETS``.

    Raises:
        SubmissionError: a name the server does not take, or results that are not in its format.
        OSError: the file cannot be written.
    """
    _check_names(test_set, algorithm)
    stem = f"person_keypoints_{test_set}_{algorithm}_results"
    entries = [
        {
            "image_id": result["image_id"],
            "category_id": result["category_id"],
            "keypoints": [round(value, 3 if index % 3 == 2 else 1) for index, value in enumerate(result["keypoints"])],
            "score": result["score"],
        }
        for result in results
    ]
    folder.mkdir(parents=True, exist_ok=True)
    draft, archive = folder / f".{stem}.part", folder / f"{stem}.zip"
    with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(f"{stem}.json", json.dumps(entries, separators=(",", ":"), allow_nan=False))
    return draft.replace(archive)


def check_submission(archive: Path, image_ids: set[int] | None = None) -> int:
    """Check a zip as the server would and return its number of entries.

    Args:
        image_ids: of the test set; None does not check them.

    Raises:
        SubmissionError: for the first rule that is broken.
    """
    named = _ARCHIVE.fullmatch(archive.name)
    if named is None:
        raise SubmissionError(f"{archive.name}: must be named person_keypoints_<testset>_<alg>_results.zip")
    _check_names(named["set"], named["algorithm"])
    try:
        with zipfile.ZipFile(archive) as file:
            inside = file.namelist()
            if inside != [f"{archive.stem}.json"]:
                raise SubmissionError(f"{archive.name}: must hold {archive.stem}.json alone, holds {', '.join(inside)}")
            entries = json.loads(file.read(inside[0]))
    except zipfile.BadZipFile as error:
        raise SubmissionError(f"{archive.name}: is no zip file") from error
    except ValueError as error:
        if isinstance(error, SubmissionError):
            raise
        raise SubmissionError(f"{archive.name}: {archive.stem}.json is not JSON ({error})") from error
    try:
        check_results(entries, archive.name, COCO, image_ids)
    except ResultFileError as error:
        raise SubmissionError(str(error)) from error
    for position, entry in enumerate(entries):
        if entry["category_id"] != PERSON:
            raise SubmissionError(f"{archive.name}: result number {position} has category_id {entry['category_id']}")
    return len(entries)


def _check_names(test_set: str, algorithm: str) -> None:
    if test_set not in TEST_SETS:
        raise SubmissionError(f"test set {test_set!r}: must be one of {', '.join(TEST_SETS)}")
    if not _ALGORITHM.fullmatch(algorithm):
        raise SubmissionError(f"algorithm name {algorithm!r}: letters, digits, '-' and '.' only")
