import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from datamodules.config import DataConfig, View
from experiments import doctor
from experiments.checks import hardware, services
from experiments.checks.finding import Finding, State


def test_only_what_is_needed_decides_the_exit_code(
    tiny_coco: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fine = Finding("x", State.ok, "fine")
    monkeypatch.setattr(doctor.software, "packages", lambda *given: [fine])
    monkeypatch.setattr(hardware, "collectives", lambda: [fine])
    monkeypatch.setattr(hardware, "disk", lambda folder: fine)
    monkeypatch.setattr(services, "slurm", lambda: Finding("SLURM", State.absent, "none"))
    assert doctor.main(["--data", str(tiny_coco)]) == 0
    shown = capsys.readouterr().out
    assert "✓ data train2017" in shown
    assert "– SLURM" in shown
    assert "to be mended" not in shown
    assert doctor.main(["--data", str(tiny_coco / "none"), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    states = {entry["name"]: entry["state"] for entry in report["checks"]}
    assert report["exit_code"] == 1
    assert states["data"] == "wrong"
    assert states["Python"] == "ok"


def test_a_check_that_breaks_is_a_finding_and_the_next_still_answers() -> None:
    def broken() -> Finding:
        raise OSError("libcudart.so: cannot open")

    found = doctor.run(doctor.Section("machine", (broken, lambda: Finding("next", State.ok, "there"))))
    assert [finding.state for finding in found] == [State.wrong, State.ok]
    assert "libcudart.so" in found[0].found


def test_it_answers_where_nothing_is_installed() -> None:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-S", "-m", "experiments.doctor", "--json"],  # without site-packages
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env=environment,
    )
    assert (done.returncode, done.stderr) == (1, "")
    found = json.loads(done.stdout)["checks"]
    assert {entry["name"]: entry["state"] for entry in found if entry["name"] in ("disk", "data")}["data"] == "absent"
    broken = [entry for entry in found if "No module named" in entry["found"]]
    assert len(broken) >= 5
    assert all("make setup" in entry["fix"] for entry in broken)


def test_memory_of_prefetched_batches() -> None:
    config = DataConfig(size=100, max_size=200, batch_size=3, num_workers=4)
    assert doctor.worker_memory(config) == 4 * 2 * 3 * 3 * 100 * 200
    crops = DataConfig(view=View.person, crop_size=[256, 192], batch_size=32, num_workers=1)
    assert doctor.worker_memory(crops) == 2 * 32 * 3 * 256 * 192
