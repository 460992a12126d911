"""What a split holds, in figures, and everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from datamodules.annotation_rules import Complaint
from datamodules.annotations import AnnotationError, Annotations, read_annotations
from datamodules.config import OnBadAnnotation
from datamodules.photograph_checks import missing_photographs, unreadable_photographs
from datamodules.selection import annotation_file, images_folder
from datamodules.skeleton import Skeleton

SMALL, MEDIUM = 32**2, 96**2
"""Upper limits of COCO's segment areas called small and medium, pixels squared."""


class SplitReport(NamedTuple):
    split: str
    figures: dict[str, Any] | None
    """None where the annotation file as a whole cannot be used; see ``figures_of``."""
    complaints: tuple[Complaint, ...]

    @property
    def errors(self) -> int:
        return sum(complaint.severity == "error" for complaint in self.complaints)

    @property
    def repaired(self) -> int:
        return len(self.complaints) - self.errors


def report_split(
    root: Path,
    split: str,
    skeleton: Skeleton,
    *,
    max_pixels: int,
    decode: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> SplitReport:
    """Read the annotations of ``split`` and look at each photograph: its header and end, or with ``decode`` all of it.

    Entries with an error are left out of the figures. ``progress`` is called with the photographs done and in all.
    """
    try:
        annotations = read_annotations(
            annotation_file(root, split), images_folder(root, split), skeleton, on_bad=OnBadAnnotation.drop
        )
    except AnnotationError as error:
        return SplitReport(split, None, error.complaints)
    missing, complaints = missing_photographs(annotations)
    present = annotations.select(np.setdiff1d(np.arange(annotations.num_images), missing))
    damaged = unreadable_photographs(present, max_pixels, decode=decode, progress=progress)[1]
    return SplitReport(split, figures_of(annotations, skeleton), (*annotations.complaints, *complaints, *damaged))


def figures_of(annotations: Annotations, skeleton: Skeleton) -> dict[str, Any]:
    """Counts: ``images``, ``images_with_labelled_people``, ``people`` (no crowds), ``labelled_people``, ``crowds``,
    ``small``, ``medium`` and ``large`` labelled people, ``most_people_in_an_image``, and for each joint under
    ``keypoints`` how many are labelled and how many of them visible.
    """
    labelled = annotations.is_labelled
    areas = annotations.areas[labelled]
    flags = annotations.visibility[labelled]
    per_image = annotations.labelled_per_image
    return {
        "images": annotations.num_images,
        "images_with_labelled_people": int((per_image > 0).sum()),
        "people": int((~annotations.is_crowd).sum()),
        "labelled_people": int(labelled.sum()),
        "crowds": int(annotations.is_crowd.sum()),
        "small": int((areas < SMALL).sum()),
        "medium": int(((areas >= SMALL) & (areas < MEDIUM)).sum()),
        "large": int((areas >= MEDIUM).sum()),
        "most_people_in_an_image": int(per_image.max(initial=0)),
        "keypoints": {
            joint: {"labelled": int((flags[:, index] > 0).sum()), "visible": int((flags[:, index] == 2).sum())}
            for index, joint in enumerate(skeleton.joints)
        },
    }
