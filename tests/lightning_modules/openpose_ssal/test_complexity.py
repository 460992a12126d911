import pytest

from experiments.complexity import complexity
from experiments.config import compose


def test_what_the_offsets_cost_and_the_converters_have():
    report = complexity(compose("openpose_ssal"))
    rows = {row["row"]: row for row in report["rows"]}
    base, ours = rows["OpenPose"], rows["with block offsets"]
    assert (base["parameters"], ours["parameters"]) == (52_311_446, 54_611_054)
    assert (base["macs"] / 1e9, ours["macs"] / 1e9) == pytest.approx((135.934, 140.800), abs=5e-4)
    assert rows["with block offsets, f_d = 16"]["parameters"] == ours["parameters"]
    assert rows["with block offsets, f_d = 16"]["macs"] < ours["macs"] / 1.8
    assert rows["converters paf to heatmap"] | {"note": ""} == {
        "row": "converters paf to heatmap",
        "parameters": 6 * 193_939,
        "macs": None,
        "input": "parameters only",
        "published": None,
        "note": "",
    }
