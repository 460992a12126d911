import json

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.ops import deform_conv2d

from experiments.complexity import count, main, published_counts
from lightning_modules.shared.counting import Countable


def counted(run, parameters: int = 0) -> tuple[int, int | None]:
    return count(lambda: Countable(parameters, run()))


def test_a_convolution_by_hand() -> None:
    def build():
        conv = nn.Conv2d(16, 32, 3, stride=2, padding=1, groups=4)
        return lambda: conv(torch.empty(2, 16, 10, 14))

    assert counted(build) == (0, 2 * 32 * 5 * 7 * (16 // 4) * 9)


def test_attention_is_counted_whole() -> None:
    def build():
        attention = nn.MultiheadAttention(8, 2, batch_first=True).eval()
        inputs = torch.empty(1, 5, 8)
        return lambda: attention(inputs, inputs, inputs, need_weights=False)

    assert counted(build)[1] == 4 * 5 * 8 * 8 + 2 * 5 * 5 * 8


def test_deformable_convolution_and_sampling() -> None:
    def deformable():
        inputs, weight = torch.empty(1, 6, 9, 9), torch.empty(4, 6, 3, 3)
        return lambda: deform_conv2d(inputs, torch.empty(1, 18, 9, 9), weight, padding=1)

    def sampled():
        inputs, grid = torch.empty(1, 6, 9, 9), torch.empty(1, 5, 7, 2)
        return lambda: F.grid_sample(inputs, grid, align_corners=False)

    assert counted(deformable)[1] == 4 * 9 * 9 * 6 * 9
    assert counted(sampled)[1] == 4 * 6 * 5 * 7


def test_what_is_not_run_has_no_operations() -> None:
    assert count(lambda: Countable(7, None)) == (7, None)


def test_inspose_beside_the_paper(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning_modules.inspose.complexity.BACKBONES", {})  # the configured model is enough here
    monkeypatch.setattr("lightning_modules.inspose.complexity.PARTS", {})
    assert main(["--paper", "inspose", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    rows = {row["row"]: row for row in report["rows"]}
    assert report["paper"] == "inspose"
    assert rows["KP-Net, depth 3"]["published"] == {"parameters": 313, "macs": None}
    assert rows["KP-Net, depth 3"]["parameters"] == 313
    # as run: 10 inputs, then 8 and 8 for each of 100 × 168 cells, with a 1 beside them whose weights are the biases
    assert rows["KP-Net, depth 3"]["macs"] == 100 * 168 * (11 * 9 + 9 * 9 + 9 * 17)
    assert rows["500 KP-Nets"]["macs"] == 500 * rows["KP-Net, depth 3"]["macs"]
    assert rows["as configured, training"]["macs"] > rows["as configured, inference"]["macs"] > 2.5e11
    assert rows["as configured, inference"]["published"] is None
    assert set(published_counts("inspose")) <= set(rows)


def test_the_table_and_mistakes(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import experiments.complexity

    row = {"row": "R", "parameters": 1234567, "macs": None, "input": "an image", "published": None, "note": "n"}
    monkeypatch.setattr(experiments.complexity, "complexity", lambda config: {"paper": "inspose", "rows": [row]})
    assert main(["--paper", "inspose"]) == 0
    assert "1,234,567" in capsys.readouterr().out
    assert main(["--paper", "inspose", "model.kpnet_depth=7"]) == 2
    assert "model.kpnet_depth=7" in capsys.readouterr().err
    assert main(["--paper", "inspoze"]) == 2
    assert "inspose" in capsys.readouterr().err
