"""SSN through the whole runner: its own callbacks take part, and figures are named by their boxes."""

import csv
import json

import pytest
import yaml

from experiments.run import main


@pytest.mark.parametrize(("reference", "insert_step"), [(4, 2), (2, 4)])
def test_modules_join_and_offsets_decay_in_a_run(tiny_coco, tmp_path, capfd, reference, insert_step):
    """After as many samples, whatever a step has of them: here four."""
    arguments = ["--paper", "ssn", "--preset", "smoke", "--name", "one", f"output.root={tmp_path}"]
    more = [f"data.root={tiny_coco}", "wandb.mode=disabled", "output.pictures=0", "data.batch_size=4"]
    more += [f"optimizer.reference_batch={reference}", "trainer.log_every_steps=1"]
    more += ["trainer.accumulate=1", "optimizer.scale_lr=linear"]
    more += [f"model.feature_shift.insert_step={insert_step}"]
    assert main([*arguments, *more]) == 0
    folder = tmp_path / "ssn" / "one"
    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    events = [(int(row["step"]), float(row["value"])) for row in rows if row["metric"] == "fsm_inserted"]
    assert events == [(2, 3.0)]
    rates = [float(row["value"]) for row in rows if row["metric"] == "lr/offsets"]
    assert rates[0] == pytest.approx(1e-3 * 4 / reference)
    assert rates[-1] == pytest.approx(9e-4 * 4 / reference)
    result = json.loads((folder / "result.json").read_text())
    assert result["protocol"].endswith("flip-gt-boxes")
    out, err = capfd.readouterr()
    assert "AP_gt" in out
    assert err.count("3 feature shifting modules inserted after 2 steps") == 1
    assert yaml.safe_load((folder / "config.yaml").read_text())["model"]["architecture"] == "three_block"
