from collections.abc import Callable
from typing import Any

import pytest
import torch

from datamodules.contracts import PoseBatch
from datamodules.skeleton import COCO
from lightning_modules.inspose.config import Config, Nms
from lightning_modules.inspose.decode import propose
from lightning_modules.inspose.kp_net import KPNetShape
from lightning_modules.inspose.locations import level_shapes
from lightning_modules.inspose.network import Network, Output
from lightning_modules.inspose.test_time import View, mirrored, predict, resized, views

Make = Callable[..., Any]


def view_of(batch: PoseBatch) -> View:
    return View(batch.images, batch.meta, is_mirrored=False)


def to_photograph(view: View, points: torch.Tensor) -> torch.Tensor:
    matrix = view.meta.to_original
    return torch.einsum("bij,bnj->bni", matrix[:, :, :2], points) + matrix[:, None, :, 2]


def test_the_mirror_image_stays_left_of_its_padding(make_batch: Make) -> None:
    batch = make_batch(height=64, width=96, input_hw=[(64, 96), (64, 60)])
    view = mirrored(view_of(batch))
    assert torch.equal(view.images[0], batch.images[0].flip(-1))
    assert torch.equal(view.images[1, :, :, :60], batch.images[1, :, :, :60].flip(-1))
    assert not view.images[1, :, :, 60:].any()
    points = torch.tensor([[[0.0, 5.0], [20.0, 7.0]]] * 2)
    expected = torch.stack([torch.tensor([[96.0, 5], [76, 7]]), torch.tensor([[60.0, 5], [40, 7]])])
    torch.testing.assert_close(to_photograph(view, points), expected)
    again = mirrored(view)
    assert torch.equal(again.images, batch.images)
    torch.testing.assert_close(again.meta.to_original, batch.meta.to_original)


def test_a_resized_view_leads_back_to_the_same_photograph(make_batch: Make) -> None:
    batch = make_batch(batch=1, height=64, width=96)
    batch.meta.to_original[:] = torch.tensor([[2.0, 0.0, 1.0], [0.0, 2.0, 3.0]])
    view = resized(view_of(batch), 96)
    assert view.images.shape == (1, 3, 96, 160)  # 144 wide, padded to 160
    assert view.meta.input_hw.tolist() == [[96, 144]]
    assert not view.images[..., 144:].any()
    same = to_photograph(view, torch.tensor([[[30.0, 60.0]]]))
    torch.testing.assert_close(same, to_photograph(view_of(batch), torch.tensor([[[20.0, 40.0]]])))
    assert resized(view_of(batch), 64) == view_of(batch)


def test_views_are_scales_times_mirror_images(make_batch: Make, small_config: Make) -> None:
    batch = make_batch(height=64, width=96)
    assert len(views(batch, small_config())) == 1
    found = views(batch, small_config(scales=[64, 128], flip_test=True))
    assert [view.is_mirrored for view in found] == [False, True, False, True]
    assert [view.images.shape[-2] for view in found] == [64, 64, 128, 128]


class Symmetric:
    """Stands in for a network: whatever it sees, left joints lie at the right border and right joints at the left."""

    kp_net = KPNetShape(channels=1, depth=1, num_keypoints=17)

    def __call__(self, images: torch.Tensor) -> Output:
        image_hw = (images.shape[-2], images.shape[-1])
        count = sum(h * w for h, w in level_shapes(image_hw))
        weight = torch.zeros(17, 3)
        weight[:, 1] = torch.tensor([{"left": 1.0, "right": -1.0, "middle": 0.0}[COCO.side(k)] for k in range(17)])
        weight[:, 2] = torch.linspace(-1, 1, 17)
        parameters = torch.cat([weight.flatten() * 100, torch.zeros(17)])
        class_logits = torch.full((len(images), count), -20.0)
        class_logits[:, 3] = 2.0
        return Output(
            class_logits,
            parameters[None, :, None].expand(len(images), -1, count),
            torch.zeros(len(images), 1, *level_shapes(image_hw)[0]),
            None,
            None,
            None,
        )


def test_the_mirror_image_of_symmetric_predictions_is_those_predictions(make_batch: Make) -> None:
    batch = make_batch(height=64, width=96, input_hw=[(64, 96), (48, 64)])
    config = Config(flip_test=True, nms=Nms.hard, nms_threshold=1.0, disk_offset=False)
    swap = list(COCO.flip_permutation)
    found = predict(Symmetric(), batch, config, COCO.flip_permutation)
    assert found.is_valid.tolist() == [[True, True]] * 2
    left, right = COCO.joints.index("left_wrist"), COCO.joints.index("right_wrist")
    assert found.keypoints[:, 0, [left, right], 0].tolist() == [[92.0, 4.0], [60.0, 4.0]]
    plain, through_mirror = found.keypoints[:, 0], found.keypoints[:, 1]
    sided = [k for k in range(17) if COCO.side(k) != "middle"]
    assert torch.equal(plain[:, sided, 0], through_mirror[:, sided, 0])
    # y belongs to the joint's number, which the mirror swaps
    assert torch.equal(plain[:, swap, 1], through_mirror[..., 1])


def test_several_views_meet_before_one_suppression(make_batch: Make, small_config: Make) -> None:
    torch.manual_seed(14)
    config = small_config(score_threshold=0.0, max_candidates=5, scales=[64, 96], flip_test=True)
    network = Network(config, 17).eval()
    batch = make_batch(height=64, width=64)
    found = predict(network, batch, config, COCO.flip_permutation)
    assert found.scores.shape[1] == 20
    assert (found.scores[:, :-1] >= found.scores[:, 1:]).all()
    assert found.keypoints.isfinite().all()


@pytest.mark.parametrize("changes", [{}, {"bbox_head": True, "disk_offset": False, "map_stride": 4}])
def test_a_batch_is_its_images_one_by_one(make_batch: Make, small_config: Make, changes: dict[str, Any]) -> None:
    """Sums may be ordered otherwise in a batch of one. Drawn so wide, no two peaks or scores are nearly equal."""
    torch.manual_seed(18)
    config = small_config(score_threshold=0.0, max_candidates=6, kpnet_depth=1, **changes)
    network = Network(config, 17).eval()
    for layer in (network.parameter_head, network.class_head[-1]):
        torch.nn.init.normal_(layer.weight)
    torch.nn.init.normal_(network.parameter_head.bias)
    batch = make_batch(height=64, width=96)
    found = propose(network(batch.images), batch.meta.input_hw, (64, 96), config, network.kp_net)
    highest = found.maps(slice(6)).flatten(3).topk(2).values
    assert (highest[..., 0] - highest[..., 1]).min() > 1e-3  # where the maps' values are some 40
    assert (found.scores[:, :-1] - found.scores[:, 1:]).min() > 1e-3
    together = predict(network, batch, config, COCO.flip_permutation)
    for b in range(2):
        one = PoseBatch(
            batch.images[b : b + 1],
            type(batch.persons)(*(value[b : b + 1] for value in batch.persons)),
            batch.ignore[b : b + 1],
            None,
            type(batch.meta)(*(value[b : b + 1] for value in batch.meta)),
        )
        alone = predict(network, one, config, COCO.flip_permutation)
        torch.testing.assert_close(alone.keypoints[0], together.keypoints[b], atol=1e-2, rtol=1e-3)
        torch.testing.assert_close(alone.scores[0], together.scores[b], atol=1e-4, rtol=1e-3)
