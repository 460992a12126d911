import numpy as np

from datamodules.keypoint_errors import ImageErrors, KeypointKind, MatchedPerson
from datamodules.skeleton import COCO
from experiments.diagnosis.pictures import KIND_COLORS, draw_errors


def test_a_joint_that_was_not_predicted_is_a_ring_where_it_should_be():
    truth = np.array([[100 + 10 * (k % 4), 100 + 10 * (k // 4), 2] for k in range(17)], float)
    predicted = truth.copy()
    predicted[:, 2] = 0.9
    predicted[9] = 0
    kinds = np.full(17, KeypointKind.good, np.int8)
    kinds[9] = KeypointKind.miss
    person = MatchedPerson(0, {"keypoints": truth.ravel().tolist(), "bbox": [90, 90, 50, 60]}, kinds, 0.9)
    image = np.zeros((300, 300, 3), np.uint8)
    drawn = draw_errors(
        image, ImageErrors(1, [person], [], []), [{"keypoints": predicted.ravel().tolist(), "score": 1.0}], COCO
    )
    rows, columns = np.nonzero((np.abs(drawn.astype(int) - KIND_COLORS["miss"]).sum(axis=2)) < 60)
    assert 10 < len(rows) < 200
    assert max(np.ptp(rows), np.ptp(columns)) < 16  # no line to the corner
    extent = np.nonzero(drawn.sum(axis=2) > 300)
    assert min(extent[0].min(), extent[1].min()) > 20
