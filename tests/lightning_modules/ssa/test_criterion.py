import pytest
import torch

from lightning_modules.shared.config import BackboneConfig
from lightning_modules.ssa.attention import IndependentAttention, position_embedding
from lightning_modules.ssa.config import Config, Supervision
from lightning_modules.ssa.criterion import Criterion
from lightning_modules.ssa.network import Network, Output
from lightning_modules.ssa.targets import Targets
from losses.instance_mask import InstanceMaskLoss


def network(supervision: Supervision = Supervision.shared) -> Network:
    torch.manual_seed(0)
    backbone = BackboneConfig("resnet18", weights=None, frozen_stages=0)
    config = Config(backbone, width=16, feedforward=32, layers=3, supervised_layer=2, supervision=supervision)
    return Network(config, 5)


def targets(people: int) -> Targets:
    generator = torch.Generator().manual_seed(1)
    return Targets(
        heatmap_s4=torch.rand(2, 5, 16, 16, generator=generator),
        ignore=torch.zeros(2, 16, 16, dtype=torch.bool),
        cells=torch.randint(0, 16, (2, people, 5), generator=generator),
        is_labelled=torch.rand(2, people, 5, generator=generator) < 0.6,
        masks=torch.rand(2, people, 16, 16, generator=generator) < 0.3,
    )


def test_terms_are_those_of_the_full_attention_matrix() -> None:
    output = network().train()(torch.randn(2, 3, 64, 64))
    wanted = targets(3)
    terms = Criterion()(output, wanted)
    query, key = output.supervised
    full = (query[:, 0] @ key[:, 0].transpose(1, 2) / 4.0).softmax(2)  # d = 16
    rows = torch.stack([matrix[cells] for matrix, cells in zip(full, wanted.cells, strict=True)])
    expected = InstanceMaskLoss()(rows, wanted.is_labelled, wanted.masks, (4, 4))
    torch.testing.assert_close(terms["mask"], expected)
    torch.testing.assert_close(terms["heatmap"], (output.heatmap_s4 - wanted.heatmap_s4).square().mean())


@pytest.mark.fault(8, "SSA: nobody", "touches every parameter")
def test_every_parameter_is_touched_whoever_is_there() -> None:
    for supervision in Supervision:
        for people in (0, 2):
            model = network(supervision).train()
            terms = Criterion()(model(torch.randn(2, 3, 64, 64)), targets(people))
            (terms["heatmap"] + 0.01 * terms["mask"]).backward()
            untouched = [name for name, p in model.named_parameters() if p.grad is None]
            assert untouched == [], (supervision, people)
            if people == 0:
                assert terms["mask"].item() == 0


def test_mask_term_alone_teaches_attention_to_stay_on_the_person() -> None:
    torch.manual_seed(0)
    attention = IndependentAttention(16, 1)
    tokens, position = torch.randn(2, 16, 16), position_embedding(4, 4, 16)
    wanted = targets(2)
    wanted = wanted._replace(masks=torch.zeros_like(wanted.masks).index_fill(2, torch.arange(8), True))
    optimizer = torch.optim.Adam(attention.parameters(), lr=1e-2)
    history = []
    for _ in range(60):
        query_key = attention(tokens, position)
        output = Output(torch.zeros(2, 5, 16, 16), query_key, (query_key,), (4, 4))
        loss = Criterion()(output, wanted)["mask"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < 0.5 * history[0]
