import math

import pytest
import torch

from losses.map_divergence import MapDivergence


def test_zero_at_equality_and_positive_elsewhere():
    generator = torch.Generator().manual_seed(0)
    p = torch.rand(2, 3, 4, 5, 5, generator=generator)
    loss = MapDivergence()
    assert loss(p, p.clone()).item() == 0
    # Clamping a map that is not positive anywhere is part of "equal": both lie on the floor.
    assert loss(-p, -2 * p).item() == 0
    for _ in range(20):
        q = torch.rand(2, 3, 4, 5, 5, generator=generator) * 2 - 0.5
        assert loss(p, q).item() > 0


def test_value_by_hand():
    p, q = torch.full((1, 1, 1, 1, 1), 0.8), torch.full((1, 1, 1, 1, 1), 0.2)
    assert MapDivergence()(p, q).item() == pytest.approx(0.8 * math.log(4) - 0.8 + 0.2)
    assert MapDivergence(generalised=False)(p, q).item() == pytest.approx(0.8 * math.log(4))


def test_gradient_pulls_the_generated_map_towards_the_predicted_one_only():
    p = torch.tensor([0.2, 0.8, 0.5]).view(1, 1, 3, 1, 1).requires_grad_()
    q = torch.tensor([0.5, 0.5, 0.5]).view(1, 1, 3, 1, 1).requires_grad_()
    MapDivergence()(p, q).backward()
    assert p.grad is None
    # d/dq = 1 - p/q: falls where q is above p, rises where it is below.
    torch.testing.assert_close(q.grad.flatten(), torch.tensor([1 - 0.4, 1 - 1.6, 0.0]))


def test_literal_form_is_stationary_in_the_prediction_at_q_over_e_and_negative_there():
    q = torch.full((1, 1, 1, 1, 1), 0.9)
    p = (q / math.e).requires_grad_()
    loss = MapDivergence(generalised=False)(p, q)
    loss.backward()
    assert loss.item() < 0
    assert p.grad.item() == pytest.approx(0, abs=1e-6)


def test_mask_leaves_cells_out():
    p, q = torch.rand(1, 2, 1, 3, 3), torch.rand(1, 2, 1, 3, 3)
    mask = torch.zeros(2, 1, 3, 3, dtype=torch.bool)
    assert MapDivergence()(p, q, mask).item() == 0
    mask[0, 0, 1, 2] = True
    alone = MapDivergence()(p[:, :1, :, 1:2, 2:3], q[:, :1, :, 1:2, 2:3])
    assert MapDivergence()(p, q, mask).item() == pytest.approx(alone.item() / 2)
