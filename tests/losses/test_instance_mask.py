import math

import pytest
import torch
from torch import Tensor

from losses.instance_mask import InstanceMaskLoss, normalised_attention, person_attention


def scene(seed: int = 0, *, batch: int = 3, people: int = 4, joints: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(batch, people, joints, 12, generator=generator).mul(3).softmax(-1)
    is_labelled = torch.rand(batch, people, joints, generator=generator) < 0.5
    masks = torch.rand(batch, people, 12, 16, generator=generator) < 0.4
    is_labelled[0, 0] = False
    masks[0, 1] = False
    is_labelled[2] = False  # an image without people
    return rows, is_labelled, masks


def bilinear(grid: list[list[float]], height: int, width: int) -> list[list[float]]:
    rows, columns = len(grid), len(grid[0])

    def taps(index: int, size: int, cells: int) -> list[tuple[int, float]]:
        place = min(max((index + 0.5) * cells / size - 0.5, 0.0), cells - 1.0)
        first = math.floor(place)
        return [(first, 1 - (place - first)), (min(first + 1, cells - 1), place - first)]

    return [
        [
            sum(wy * wx * grid[y][x] for y, wy in taps(i, height, rows) for x, wx in taps(j, width, columns))
            for j in range(width)
        ]
        for i in range(height)
    ]


def reference(rows: Tensor, is_labelled: Tensor, masks: Tensor, grid: tuple[int, int]) -> float:
    """Eq. 2 and 3 by loops over images, people, keypoints and pixels."""
    per_image = []
    for image_rows, image_labels, image_masks in zip(rows.tolist(), is_labelled.tolist(), masks.tolist(), strict=True):
        errors = []
        for person_rows, labels, mask in zip(image_rows, image_labels, image_masks, strict=True):
            kept = [row for row, label in zip(person_rows, labels, strict=True) if label]
            if not kept or not any(any(line) for line in mask):
                continue
            mean = [sum(values) / len(kept) for values in zip(*kept, strict=True)]
            scaled = [value / max(mean) for value in mean]
            soft = bilinear([scaled[r * grid[1] : (r + 1) * grid[1]] for r in range(grid[0])], len(mask), len(mask[0]))
            squares = [
                (s - m) ** 2
                for soft_line, line in zip(soft, mask, strict=True)
                for s, m in zip(soft_line, line, strict=True)
            ]
            errors.append(sum(squares) / len(squares))
        per_image.append(sum(errors) / len(errors) if errors else 0.0)
    return sum(per_image) / len(per_image)


@pytest.mark.parametrize("seed", range(5))
def test_equals_loops_over_everything(seed: int) -> None:
    rows, is_labelled, masks = scene(seed)
    actual = InstanceMaskLoss()(rows, is_labelled, masks, (3, 4))
    assert actual.item() == pytest.approx(reference(rows, is_labelled, masks, (3, 4)), abs=1e-6)


def test_attention_that_is_the_mask_costs_nothing_at_the_masks_own_resolution() -> None:
    masks = torch.tensor([[[[1, 1, 0], [0, 1, 0]]]], dtype=torch.bool)
    rows = (masks.flatten(2).float() / 3)[:, :, None].expand(-1, -1, 2, -1)
    assert InstanceMaskLoss()(rows, torch.ones(1, 1, 2, dtype=torch.bool), masks, (2, 3)).item() == 0


def test_padded_people_change_nothing() -> None:
    rows, is_labelled, masks = scene()
    padded = InstanceMaskLoss()(
        torch.cat([rows, torch.ones_like(rows)], 1),
        torch.cat([is_labelled, torch.zeros_like(is_labelled)], 1),
        torch.cat([masks, torch.zeros_like(masks)], 1),
        (3, 4),
    )
    torch.testing.assert_close(padded, InstanceMaskLoss()(rows, is_labelled, masks, (3, 4)))


def test_gradient_passes_the_maximum() -> None:
    rows = torch.rand(1, 2, 3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    is_member = torch.tensor([[[True, False, True], [True, True, True]]])
    assert torch.autograd.gradcheck(lambda r: normalised_attention(person_attention(r, is_member)), (rows,))


@pytest.mark.parametrize("people", [0, 2])
def test_no_people_is_zero_and_touches_the_rows(people: int) -> None:
    logits = torch.randn(2, people, 3, 12, requires_grad=True)
    is_labelled = torch.zeros(2, people, 3, dtype=torch.bool)
    loss = InstanceMaskLoss()(logits.softmax(-1), is_labelled, torch.zeros(2, people, 6, 8, dtype=torch.bool), (3, 4))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))
