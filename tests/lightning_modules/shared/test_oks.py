import math

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO as CocoIndex
from pycocotools.cocoeval import COCOeval

from datamodules.skeleton import COCO
from lightning_modules.shared.oks import object_keypoint_similarity, oks_nms

SIGMAS = torch.tensor(COCO.sigmas)


def people(count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(count)
    base = torch.rand(1, 1, 17, 2, generator=generator) * 100
    keypoints = base + torch.randn(3, count, 17, 2, generator=generator) * 4
    return keypoints, torch.rand(3, count, generator=generator), 3000 + 4000 * torch.rand(3, count, generator=generator)


def test_is_pycocotools():
    keypoints, _, areas = people(4)
    points = torch.cat([keypoints[0].double(), torch.full((4, 17, 1), 2.0)], -1).flatten(1).tolist()
    truth = {"image_id": 1, "category_id": 1, "iscrowd": 0, "bbox": [0, 0, 100, 100], "num_keypoints": 17}
    index = CocoIndex()
    index.dataset = {
        "images": [{"id": 1}],
        "categories": [{"id": 1}],
        "annotations": [truth | {"id": i + 1, "keypoints": points[i], "area": float(areas[0, i])} for i in range(2)],
    }
    index.createIndex()
    found = [{"image_id": 1, "category_id": 1, "keypoints": points[i], "score": 4.0 - i} for i in (2, 3)]
    evaluation = COCOeval(index, index.loadRes(found), "keypoints")
    evaluation.params.imgIds = [1]
    evaluation._prepare()
    expected = evaluation.computeOks(1, 1)
    similarity = object_keypoint_similarity(keypoints[0, 2:, None], keypoints[0, None, :2], areas[0, :2], SIGMAS)
    np.testing.assert_allclose(similarity.numpy(), expected, rtol=1e-5)


def test_by_hand():
    first, second = torch.zeros(2, 2), torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    area, sigmas = torch.tensor(100.0), torch.tensor([0.5, 0.5])
    similarity = object_keypoint_similarity(first, second, area, sigmas)
    assert similarity.item() == pytest.approx((math.exp(-25 / 200) + 1) / 2)
    counted = object_keypoint_similarity(first, second, area, sigmas, torch.tensor([True, False]))
    assert counted.item() == pytest.approx(math.exp(-25 / 200))
    assert object_keypoint_similarity(first, second, area, sigmas, torch.tensor([False, False])) == 0


def nms_by_loops(keypoints, scores, areas, is_valid, threshold):
    stays = torch.zeros_like(is_valid)
    for b in range(len(scores)):
        chosen: list[int] = []
        for candidate in sorted(range(scores.shape[1]), key=lambda i: -scores[b, i].item()):
            overlaps = [
                object_keypoint_similarity(
                    keypoints[b, candidate], keypoints[b, other], (areas[b, candidate] + areas[b, other]) / 2, SIGMAS
                )
                for other in chosen
            ]
            if is_valid[b, candidate] and not any(overlap > threshold for overlap in overlaps):
                chosen.append(candidate)
        stays[b, chosen] = True
    return stays


@pytest.mark.parametrize("count", [1, 2, 12])
def test_nms_against_loops(count):
    keypoints, scores, areas = people(count)
    is_valid = torch.rand(3, count, generator=torch.Generator().manual_seed(1)) > 0.2
    found = oks_nms(keypoints, scores, areas, is_valid, SIGMAS, 0.7)
    assert torch.equal(found, nms_by_loops(keypoints, scores, areas, is_valid, 0.7))
    assert count < 12 or 3 < found.sum() < is_valid.sum()


def test_nms_without_people():
    keypoints, scores, areas = (tensor[:, :0] for tensor in people(1))
    assert oks_nms(keypoints, scores, areas, scores > 0, SIGMAS, 0.9).shape == (3, 0)
