"""AP from packed matches is pycocotools' own, also of images that count several times."""

import copy
import json

import numpy as np
import pytest

from datamodules.evaluator import CocoKeypointEvaluator
from datamodules.matches import average_precision, pack


def matches_of(file, results):
    return pack(CocoKeypointEvaluator(file).match(results).values())


def test_ap_equals_the_evaluators(people_file, noisy):
    file, content = people_file(images=8)
    content["annotations"][3]["iscrowd"] = 1
    content["annotations"][5].update(num_keypoints=0, keypoints=[0] * 51)
    file.write_text(json.dumps(content))
    for seed, pixels in enumerate((5.0, 15.0, 30.0)):
        results = noisy(content, seed, pixels)
        ap = CocoKeypointEvaluator(file).score(results)["AP"]
        assert average_precision(matches_of(file, results)) == pytest.approx(ap, abs=1e-12)
        assert 0.02 < ap < 0.99


def test_weights_are_repetitions(people_file, noisy, tmp_path):
    file, content = people_file(images=5)
    results = noisy(content, 3, 15.0)
    weights = np.array([2, 1, 0, 3, 1])
    repeated = {"images": [], "annotations": [], "categories": content["categories"]}
    entries = []
    for copies, image in zip(weights, content["images"], strict=True):
        for number in range(copies):
            new_id = 10 * image["id"] + number
            repeated["images"].append({**image, "id": new_id})
            for entry in content["annotations"]:
                if entry["image_id"] == image["id"]:
                    new = {**entry, "image_id": new_id, "id": len(repeated["annotations"]) + 1}
                    repeated["annotations"].append(new)
            entries += [{**copy.deepcopy(r), "image_id": new_id} for r in results if r["image_id"] == image["id"]]
    other = tmp_path / "repeated.json"
    other.write_text(json.dumps(repeated))
    expected = CocoKeypointEvaluator(other).score(entries)["AP"]
    assert average_precision(matches_of(file, results), weights) == pytest.approx(expected, abs=1e-12)
    assert abs(expected - average_precision(matches_of(file, results))) > 1e-3


def test_nobody_found_and_nobody_there(people_file, exact):
    file, content = people_file(images=3)
    assert average_precision(matches_of(file, [])) == 0.0
    matches = matches_of(file, exact(content))
    assert average_precision(matches) == 1.0
    assert np.isnan(average_precision(matches, np.array([0, 4, 0])))  # image 2 is empty
