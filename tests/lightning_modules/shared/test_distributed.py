import pytest
import torch
from torch import distributed

from lightning_modules.shared.distributed import normalizers_over_ranks


def test_one_process_counts_at_least_one() -> None:
    assert normalizers_over_ranks(torch.tensor([0, 1, 7])).tolist() == [1.0, 1.0, 7.0]


def test_several_processes_share_their_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    mine, others = torch.tensor([0, 0, 3]), torch.tensor([0, 2, 5])

    def add_the_others(tensor: torch.Tensor) -> None:
        tensor += others

    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "all_reduce", add_the_others)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 4)
    assert normalizers_over_ranks(mine).tolist() == [0.25, 0.5, 2.0]
    assert mine.tolist() == [0, 0, 3]
