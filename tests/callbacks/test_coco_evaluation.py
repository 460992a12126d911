"""Scoring together: one gathering that every rank enters, and the same answer for all."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from callbacks import coco_evaluation
from callbacks.coco_evaluation import score_together


class FakeEvaluator:
    """Counts what is merged; its figure is the number of samples."""

    def __init__(self, samples: dict[int, str], fails: bool = False) -> None:
        self.samples, self.fails = samples, fails

    def state(self) -> dict[int, str]:
        return self.samples

    def merge(self, state: dict[int, str]) -> None:
        self.samples = {**state, **self.samples}

    def compute(self) -> dict[str, float]:
        if self.fails:
            raise ValueError("no such image")
        return {"AP": float(len(self.samples))}


@pytest.fixture
def ranks(monkeypatch: pytest.MonkeyPatch):
    """``ranks(evaluators)`` runs ``score_together`` for rank 0, then for the others with what rank 0 broadcast."""

    def run(evaluators: list[FakeEvaluator]) -> list[Any]:
        sent: list[Any] = []
        answers: list[Any] = []
        for rank in range(len(evaluators)):

            def gather(state: Any, states: list[Any] | None, dst: int, rank: int = rank) -> None:
                assert (states is not None) == (rank == dst == 0)
                if states is not None:
                    states[:] = [evaluator.state() for evaluator in evaluators]

            def broadcast(values: list[Any], src: int, rank: int = rank) -> None:
                if rank == src:
                    sent.append(values[0])
                else:
                    values[0] = sent[0]

            fake = SimpleNamespace(
                is_available=lambda: True,
                is_initialized=lambda: True,
                get_world_size=lambda: len(evaluators),
                get_rank=lambda rank=rank: rank,
                gather_object=gather,
                broadcast_object_list=broadcast,
            )
            monkeypatch.setattr(coco_evaluation, "dist", fake)
            try:
                answers.append(score_together(evaluators[rank]))  # type: ignore[arg-type]
            except ValueError as error:
                answers.append(error)
        return answers

    return run


def test_all_ranks_get_the_figures_of_all_samples(ranks: Any) -> None:
    evaluators = [FakeEvaluator({0: "a", 2: "c"}), FakeEvaluator({1: "b", 0: "again"})]
    assert ranks(evaluators) == [{"AP": 3.0}, {"AP": 3.0}]
    assert evaluators[0].samples[0] == "a"


def test_an_error_of_rank_0_is_raised_on_all(ranks: Any) -> None:
    answers = ranks([FakeEvaluator({}, fails=True), FakeEvaluator({})])
    assert [str(answer) for answer in answers] == ["no such image"] * 2
