"""Eq. 7 against a loop over edges, and the variants of Table 2."""

import pytest
import torch

from datamodules.skeleton import COCO
from lightning_modules.graph_pcnn.config import Refinement
from lightning_modules.graph_pcnn.graph_refinement import GraphConvolution, PoseRefinement, directed_edges

EDGES = directed_edges(COCO.limb_indices, 17, neighbours=True)


def refinement(variant, seed=0):
    torch.manual_seed(seed)
    module = PoseRefinement(variant, 6, 8, 2, COCO.limb_indices, 17)
    for head in (module.head.classification, module.head.regression):
        torch.nn.init.normal_(head.weight)
    return module


@pytest.fixture
def points():
    torch.manual_seed(1)
    return torch.randn(2, 17, 5, 6), torch.rand(2, 17, 5), torch.rand(2, 17, 5) < 0.6


def test_coco_has_55_directed_transforms():
    assert len(EDGES) == len(set(EDGES)) == 55
    assert EDGES[:17] == [(k, k) for k in range(17)]
    assert {(b, a) for a, b in EDGES} == set(EDGES)
    assert len(directed_edges((*COCO.limb_indices, (9, 7)), 17, neighbours=True)) == 55


def test_graph_convolution_equals_the_loop():
    torch.manual_seed(2)
    graph = GraphConvolution(6, 8, EDGES, 17).double()
    torch.nn.init.normal_(graph.bias)
    features = torch.randn(17, 6, 4, dtype=torch.float64)
    weights = torch.rand(17, 4, dtype=torch.float64) * (torch.rand(17, 4) < 0.7)
    actual = graph(features, weights)
    for k in range(17):
        for m in range(4):
            value, normalizer = torch.zeros(8, dtype=torch.float64), 0.0
            for matrix, (source, target) in zip(graph.weight, EDGES, strict=True):
                if target == k:
                    omega = 1.0 if source == k else float(weights[source, m])
                    value += omega * (matrix @ features[source, :, m] + graph.bias[k, :, 0])
                    normalizer += omega
            assert torch.allclose(actual[k, :, m], value / normalizer, atol=1e-12)


def test_gradients_of_messages_are_finite_differences():
    torch.manual_seed(3)
    graph = GraphConvolution(3, 2, [(0, 0), (1, 1), (2, 2), (0, 1), (1, 0), (2, 1)], 3).double()
    features = torch.randn(3, 3, 2, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(3, 2, dtype=torch.float64, requires_grad=True)

    def messages(matrices, *inputs):
        return torch.func.functional_call(graph, {"weight": matrices}, inputs)

    assert torch.autograd.gradcheck(messages, (graph.weight, features, weights))


def test_messages_follow_autocast_and_keep_features_once():
    torch.manual_seed(4)
    graph, features, weights = GraphConvolution(6, 8, EDGES, 17), torch.randn(17, 6, 4), torch.rand(17, 4)
    kept = []
    with (
        torch.autocast("cpu", torch.bfloat16),
        torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor),
    ):
        rough = graph(features, weights)
    assert [tensor.shape for tensor in kept if tensor.dim() == 3] == [graph.weight.shape, features.shape]
    torch.testing.assert_close(rough.float(), graph(features, weights), atol=0.05, rtol=0.05)
    rough.sum().backward()
    assert graph.weight.grad.dtype is torch.float32
    exact = torch.autograd.grad(graph(features, weights).sum(), graph.weight)[0]
    torch.testing.assert_close(graph.weight.grad, exact, atol=0.1, rtol=0.02)


def test_without_reliable_neighbours_gpr_is_struct_agnostic(points):
    features, heat, _ = points
    full, alone = refinement(Refinement.gpr), refinement(Refinement.struct_agnostic)
    state = full.state_dict()
    state["graph.weight"] = state["graph.weight"][:17]
    alone.load_state_dict(state)
    nobody = torch.zeros_like(heat, dtype=torch.bool)
    for a, b in zip(full(features, heat, nobody), alone(features, heat, ~nobody), strict=True):
        assert torch.allclose(a, b, atol=1e-6)
    assert not torch.allclose(full(features, heat, ~nobody).offset, alone(features, heat, ~nobody).offset)


def test_variants_weigh_neighbours_as_table_2_says(points):
    features, heat, reliable = points
    va, vb, full = (refinement(v).eval() for v in (Refinement.gpr_va, Refinement.gpr_vb, Refinement.gpr))
    ones, every = torch.ones_like(heat), torch.ones_like(reliable)
    assert torch.equal(va(features, heat, reliable).offset, full(features, ones, every).offset)
    assert torch.equal(vb(features, heat, reliable).offset, full(features, ones, reliable).offset)
    assert not torch.allclose(va(features, heat, reliable).offset, vb(features, heat, reliable).offset)
    assert not torch.allclose(full(features, heat, reliable).offset, vb(features, heat, reliable).offset)


def test_a_message_goes_to_neighbours_only(points):
    """Moving the left elbow's feature changes itself, the left shoulder and the left wrist."""
    features, heat, reliable = points
    module = refinement(Refinement.gpr).eval()
    changed = features.clone()
    changed[:, 7] += 1
    every = torch.ones_like(reliable)
    difference = (module(features, heat, every).offset - module(changed, heat, every).offset).abs().sum((0, 2, 3))
    assert (difference > 0).nonzero().flatten().tolist() == [5, 7, 9]


def test_graphs_do_not_mix(points):
    """One graph alone gives what it gives in the batch, once batch statistics are fixed."""
    features, heat, reliable = points
    module = refinement(Refinement.gpr).eval()
    whole = module(features, heat, reliable)
    one = module(features[1:, :, 3:4], heat[1:, :, 3:4], reliable[1:, :, 3:4])
    assert torch.allclose(whole.logits[1:, :, 3:4], one.logits, atol=1e-6)
    assert torch.allclose(whole.offset[1:, :, 3:4], one.offset, atol=1e-6)


def test_first_the_second_stage_repeats_the_first(points):
    torch.manual_seed(0)
    offset = PoseRefinement(Refinement.gpr, 6, 256, 2, COCO.limb_indices, 17)(*points).offset
    assert offset.abs().max() < 0.1
