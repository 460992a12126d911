import pytest
import torch

from experiments.benchmarks.inspose_kp_nets import FORMS, folded, lines, main, peak_memory, sample
from experiments.benchmarks.measuring import Setting


@pytest.mark.parametrize("name", [name for name, form in FORMS.items() if form is not folded])
def test_every_form_gives_the_same_maps(name: str) -> None:
    arguments = sample(5, 6, 9)
    expected = FORMS[name](*(argument.double() for argument in arguments))
    torch.testing.assert_close(folded(*arguments).double(), expected, rtol=1e-4, atol=1e-4)


def test_the_table_has_a_row_per_count(capsys: pytest.CaptureFixture[str]) -> None:
    main(counts=(2, 3), height=6, width=9, repeats=1)
    header, *rows = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in rows] == ["2", "3"]
    assert header.split()[-1] == "ours"


def test_the_peak_of_memory_counts_what_is_held_together() -> None:
    def one_after_the_other() -> None:
        for _ in range(3):
            torch.empty(25_000).fill_(1)

    def side_by_side() -> list[torch.Tensor]:
        return [torch.empty(25_000).fill_(1) for _ in range(3)]

    assert 100_000 <= peak_memory(one_after_the_other) < 110_000
    assert 300_000 <= peak_memory(side_by_side) < 310_000


def test_lines_of_time_and_memory() -> None:
    time, memory = lines(Setting(), counts=(3,), height=12, width=18)
    assert time.ours > 0
    assert time.unexplained == memory.unexplained == []
    assert time.limit is not None
    assert 0 < time.limit < time.ours
    assert memory.limit is not None
    assert memory.naive is not None
    assert memory.limit <= memory.ours < memory.naive
