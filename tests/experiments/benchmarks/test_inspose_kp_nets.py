import pytest
import torch

from experiments.benchmarks.inspose_kp_nets import FORMS, folded, main, sample


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
