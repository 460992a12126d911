import pytest
import torch

from experiments.benchmarks.ssn_shift import FORMS, main
from lightning_modules.ssn.translation import translate


@pytest.mark.parametrize("name", [name for name, form in FORMS.items() if form not in (None, translate)])
def test_every_form_is_the_same_function(name):
    torch.manual_seed(0)
    weights = torch.randn(2, 6, 8, 6, dtype=torch.float64)
    found = []
    for form in (translate, FORMS[name]):
        torch.manual_seed(1)
        maps = torch.randn(2, 6, 8, 6, dtype=torch.float64, requires_grad=True)
        offsets = (3 * torch.randn(6, 2, dtype=torch.float64)).requires_grad_()
        shifted = form(maps, offsets)
        found.append((shifted.detach(), *torch.autograd.grad((shifted * weights).sum(), (maps, offsets))))
    torch.testing.assert_close(*found)


def test_every_form_is_measured(capsys):
    threads = torch.get_num_threads()
    try:
        main(batch=1, channels=4, shift_channels=4, side=8, repeats=1)
    finally:
        torch.set_num_threads(threads)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(FORMS)
    assert all(len(line.split()[-4:]) == 4 for line in lines)
