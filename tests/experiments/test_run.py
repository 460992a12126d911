"""The whole runner on a toy paper: what a run leaves behind, how it goes on, how it refuses and fails."""

from __future__ import annotations

import csv
import gc
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from experiments import config
from experiments.config import compose, list_papers, list_presets
from experiments.run import main

ROOT = Path(__file__).parents[2]


def weights(folder: Path, name: str = "last.ckpt") -> dict[str, torch.Tensor]:
    """What is evaluated, and, where that is an average, what is trained."""
    checkpoint = torch.load(folder / name, weights_only=True)
    trained = {f"trained {key}": value for key, value in checkpoint.get("current_model_state", {}).items()}
    return {**checkpoint["state_dict"], **trained}


def metrics(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "metrics.csv").open()))


def test_a_run_leaves_everything_behind(run: Any, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("--name", "whole", "wandb.mode=offline") == 0
    folder = run.runs / "whole"
    left = {path.name for path in folder.iterdir()}
    assert left >= {"config.yaml", "result.json", "metrics.csv", "curves.png", "pictures", "predictions.json", "wandb"}
    assert {path.name for path in folder.glob("*.ckpt")} == {"best.ckpt", "last.ckpt"}
    assert (folder / "best.ckpt").samefile(folder / "last.ckpt")  # both of step 9
    assert {path.name for path in (folder / "pictures").iterdir()} == {
        *(f"step_{step:07d}.jpg" for step in (3, 6, 9)),
        "best.jpg",
    }

    result = json.loads((folder / "result.json").read_text())
    assert result["protocol"] == "tiny-val2017-7-images-single-scale"
    assert result["train"]["steps"] == 9
    assert result["train"]["epochs"] == 3
    assert result["train"]["best_step"] == 9
    assert result["config"] == yaml.safe_load((folder / "config.yaml").read_text())
    assert result["figures"]["AP"] > 0.5
    assert result["figures"]["APL"] is None
    assert result["last"] == {"step": 9, "figures": result["figures"]}  # the end is the best one
    assert result["versions"]["torch"] == torch.__version__.split("+")[0]

    rows = metrics(folder)
    losses = [(int(row["step"]), float(row["value"])) for row in rows if row["metric"] == "train/offset"]
    assert [step for step, _ in losses] == list(range(1, 10))
    assert losses[0][1] == pytest.approx(144.0)
    evaluated = {int(row["step"]): float(row["value"]) for row in rows if row["metric"] == "val/AP"}
    assert list(evaluated) == [3, 6, 9]
    assert evaluated[9] == pytest.approx(result["figures"]["AP"], abs=1e-6)
    assert [int(row["step"]) for row in rows if row["metric"] == "lr"] == list(range(1, 10))

    checkpoint = torch.load(folder / "best.ckpt", weights_only=True)
    assert checkpoint["run"]["paper"] == "toy"
    assert checkpoint["run"]["config"] == result["config"]
    out, err = capfd.readouterr()
    assert "AP50" in out
    assert "result.json" in out
    assert "4 samples a step (1 device × 2 × 2 accumulated)" in err
    assert "W&B: offline" in err
    assert "warning" not in err.lower()


@pytest.mark.parametrize(
    ("settings", "steps", "best"),
    [
        (["trainer.val_every_epochs=2"], [6, 9], 9),
        (["trainer.val_every_epochs=2", "trainer.max_steps=8"], [6, 8], 8),
        (["trainer.val_every_epochs=4"], [9], 9),
        (["trainer.val_every_epochs=2", "trainer.ema_decay=0.5"], [6, 9], 9),
        (
            ["trainer.val_every_epochs=2", "model.start=0.5", "optimizer.lr=1.2"],
            [6, 9],
            6,
        ),  # further off with every step
    ],
)
def test_the_end_of_a_schedule_is_evaluated_too(
    run: Any, settings: list[str], steps: list[int], best: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--name", "whole", *settings) == 0
    result = json.loads((run.runs / "whole" / "result.json").read_text())
    evaluated = {
        int(row["step"]): float(row["value"]) for row in metrics(run.runs / "whole") if row["metric"] == "val/AP"
    }
    assert list(evaluated) == steps
    assert result["train"]["best_step"] == best
    assert result["figures"]["AP"] == pytest.approx(evaluated[best], abs=1e-6) == pytest.approx(max(evaluated.values()))
    assert result["checkpoint"] == "best.ckpt"
    stored = torch.load(run.runs / "whole" / "best.ckpt", weights_only=True)
    assert stored["global_step"] == best
    assert f"the end, step {steps[-1]}, evaluated: AP {100 * evaluated[steps[-1]]:.1f}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "evaluations"),
    [
        ([], 3),  # the last is the best
        (["trainer.ema_decay=0.5"], 3),
        (["model.start=0.5", "optimizer.lr=1.2"], 4),  # the first is: it is evaluated again
    ],
)
def test_the_best_checkpoint_is_not_evaluated_again_where_it_was_just_evaluated(
    run: Any, toy: Any, settings: list[str], evaluations: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datamodules.evaluator import CocoKeypointEvaluator

    count: list[int] = []
    monkeypatch.setattr(toy.Toy, "on_validation_start", lambda self: count.append(1), raising=False)
    assert run("--name", "whole", *settings) == 0
    assert len(count) == evaluations
    folder = run.runs / "whole"
    assert (folder / "pictures" / "best.jpg").exists()
    result = json.loads((folder / "result.json").read_text())
    truth = Path(result["config"]["data"]["root"]) / "annotations" / "person_keypoints_val2017.json"
    scored = CocoKeypointEvaluator(truth).score(json.loads((folder / "predictions.json").read_text()))
    assert scored["AP"] == pytest.approx(result["figures"]["AP"], abs=1e-9)


def test_a_finished_run_keeps_the_optimizer_only_where_a_key_asks_for_it(
    run: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from experiments.checkpoint import load_trained

    worse = ["model.start=0.5", "optimizer.lr=1.2", "optimizer.momentum=0.9"]
    assert run("--name", "small", *worse) == run("--name", "large", *worse, "trainer.keep_optimizer=true") == 0
    small, large = run.runs / "small", run.runs / "large"
    assert {path.name for path in large.glob("*.ckpt")} == {"best.ckpt", "last.ckpt", "previous.ckpt"}
    assert {path.name for path in small.glob("*.ckpt")} == {"best.ckpt", "last.ckpt"}
    for name in ("best.ckpt", "last.ckpt"):
        kept = torch.load(small / name, weights_only=True)
        assert "optimizer_states" in torch.load(large / name, weights_only=True)
        assert not {"optimizer_states", "loops", "callbacks"} & set(kept)
        for key, value in weights(large, name).items():
            assert torch.equal(load_trained(small / name).module.state_dict()[key], value)
    assert run("--name", "small", "--resume", *worse) == 2
    assert "small is finished" in capsys.readouterr().err
    (small / "result.json").unlink()
    gc.collect()  # the first run's lock ends with its process, which here goes on
    assert run("--name", "small", "--resume", *worse) == 2
    assert "holds the weights of a finished run and nothing to resume from" in capsys.readouterr().err


def test_names_are_never_used_twice(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--preset", "brief") == run("--preset", "brief") == 0
    first, second = sorted(path.name for path in run.runs.iterdir())
    assert first.startswith("brief-")
    assert second == f"{first}-2"
    assert run("--preset", "brief", "--name", first) == 2
    assert "exists and is finished; choose another name" in capsys.readouterr().err
    assert run("--preset", "brief", "--name", first, "--resume") == 2
    assert "is finished" in capsys.readouterr().err


@pytest.mark.fault(12, "SIGINT, SIGTERM within an epoch", "checkpoint, clean end; resumed equal to uninterrupted")
@pytest.mark.parametrize(
    ("name", "code", "common"),
    [("SIGINT", 130, ("data.num_workers=2",)), ("SIGTERM", 143, ("data.num_workers=0", "trainer.ema_decay=0.8"))],
)
def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(
    run: Any,
    name: str,
    code: int,
    common: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Batch 3 lies within the first epoch, and its step is complete (two batches a step).
    monkeypatch.setenv("TOY_SIGNAL_AT", "3")
    monkeypatch.setenv("TOY_SIGNAL", name)
    monkeypatch.setenv("TOY_NOISE", "1")
    assert run("--name", "parts", *common) == code
    parts = run.runs / "parts"
    assert json.loads((parts / "run.json").read_text())["state"] == "interrupted"
    assert f"interrupted by {name} at step 2; --resume continues it" in capsys.readouterr().err
    assert not (parts / "result.json").exists()
    assert run("--name", "parts", "--resume", *common) == 0
    assert "resuming from last.ckpt" in capsys.readouterr().err

    monkeypatch.delenv("TOY_SIGNAL_AT")
    assert run("--name", "whole", *common) == 0
    whole = run.runs / "whole"
    for name, value in weights(whole).items():
        assert torch.equal(weights(parts)[name], value), name
    figures = [json.loads((folder / "result.json").read_text())["figures"] for folder in (parts, whole)]
    assert figures[0] == figures[1]
    assert [(row["step"], row["metric"]) for row in metrics(parts)] == [
        (row["step"], row["metric"]) for row in metrics(whole)
    ]


@pytest.mark.fault(14, "last.ckpt truncated", "said; previous.ckpt is used")
@pytest.mark.fault(27, "resumed with another batch size", "refused, or the same samples a step")
def test_a_run_is_resumed_only_as_it_was_and_from_a_sound_checkpoint(
    run: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_SIGNAL_AT", "8")
    assert run("--name", "parts") == 130
    monkeypatch.delenv("TOY_SIGNAL_AT")
    for changes, message in (
        (("optimizer.lr=0.3",), "was started with optimizer.lr=0.2, not 0.3"),
        (("trainer.accumulate=3",), "samples_per_step 4, this run 6; set trainer.devices or trainer.accumulate"),
        (("data.batch_size=1",), "lies within an epoch, which must be finished with batch_size 2, not 1"),
    ):
        assert run("--name", "parts", "--resume", *changes) == 2
        assert message in capsys.readouterr().err

    last = run.runs / "parts" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:1000])
    # The one before lies between two epochs: four batches of one are the same four samples a step.
    assert run("--name", "parts", "--resume", "data.batch_size=1") == 0
    err = capsys.readouterr().err
    assert "last.ckpt is damaged" in err
    assert "resuming from previous.ckpt" in err
    assert json.loads((run.runs / "parts" / "result.json").read_text())["train"]["epochs"] == 3


@pytest.mark.fault(16, "last.ckpt of another paper or run put into a folder", "refused, exit code 2; the difference")
def test_a_checkpoint_that_was_put_there_is_resumed_only_by_its_own_run(
    run: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_SIGNAL_AT", "3")
    assert run("--name", "parts") == 130
    last, settings = run.runs / "parts" / "last.ckpt", run.runs / "parts" / "config.yaml"
    settings.unlink()
    assert run("--name", "parts", "--resume", "optimizer.lr=0.3") == 2
    assert "last.ckpt was started with optimizer.lr=0.2, not 0.3; resume it as it was" in capsys.readouterr().err

    content = torch.load(last, weights_only=True)
    settings.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(config, "CONFIGS", ROOT / "experiments" / "configs")
        content["run"] = {"paper": "ssn", "config": config.to_plain(config.compose("ssn", "smoke"))}
    torch.save(content, last)
    assert run("--name", "parts", "--resume") == 2
    assert "last.ckpt was started with paper=ssn, not toy" in capsys.readouterr().err

    torch.save({"state_dict": {}}, last)
    assert run("--name", "parts", "--resume") == 2
    assert "last.ckpt: not a checkpoint that python -m experiments.run wrote" in capsys.readouterr().err

    last.write_bytes(b"")
    monkeypatch.delenv("TOY_SIGNAL_AT")
    assert run("--name", "parts", "--resume") == 0
    assert "no checkpoint is sound: starting anew" in capsys.readouterr().err


@pytest.mark.fault(15, "code in last.ckpt", "refused, exit code 2; not run")
def test_a_checkpoint_that_holds_code_is_refused(
    run: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_SIGNAL_AT", "3")
    assert run("--name", "parts") == 130
    touched = run.runs / "touched"

    class Evil:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(touched),)

    torch.save({"state_dict": Evil()}, run.runs / "parts" / "last.ckpt")
    assert run("--name", "parts", "--resume") == 2
    assert "holds more than plain data and is refused" in capsys.readouterr().err
    assert not touched.exists()


@pytest.mark.fault(11, "NaN loss, as a command", "one line, exit code 1; checkpoint finite")
def test_a_nan_ends_the_run_with_its_name(
    run: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_NAN_AT", "7")  # of five batches an epoch, two a step: the first of step 5
    assert run("--name", "nan") == 1
    err = capsys.readouterr().err
    assert "error: train/offset is nan at step 5" in err
    assert "Traceback" not in err
    saved = torch.load(run.runs / "nan" / "nan_batch_rank0.pt", weights_only=True)
    assert saved["step"] == 5
    samples, images = (", ".join(map(str, saved["batch"]["meta"][key].tolist())) for key in ("sample_id", "image_id"))
    assert f"at step 5, samples {samples} (images {images}); the batch is saved in " in err
    assert all(torch.isfinite(value).all() for value in weights(run.runs / "nan").values())
    assert json.loads((run.runs / "nan" / "run.json").read_text())["state"] == "failed"


@pytest.mark.fault(11, "NaN loss in two steps, trainer.on_nan=skip", "trains to its end; told, counted, weights finite")
def test_steps_with_nan_can_be_skipped_also_by_a_run_that_stopped_at_one(
    run: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_NAN_AT", "7,10")
    assert run("--name", "nan") == 1
    capsys.readouterr()
    assert run("--name", "nan", "--resume", "trainer.on_nan=skip", "optimizer.clip_norm=1.0") == 2  # clipping decides
    assert run("--name", "nan", "--resume", "trainer.on_nan=skip") == 0
    err = capsys.readouterr().err
    for step in (5, 7):
        assert f"warning: train/offset is nan at step {step}, samples " in err
    assert err.count("the step is left out (1 of at most 5 in a row)") == 2
    rows = metrics(run.runs / "nan")
    skipped = {int(row["step"]): float(row["value"]) for row in rows if row["metric"] == "skipped_steps"}
    assert skipped == {5: 1.0, 6: 1.0, 7: 2.0, 8: 2.0, 9: 2.0}
    assert json.loads((run.runs / "nan" / "result.json").read_text())["train"]["steps"] == 9
    assert all(torch.isfinite(value).all() for value in weights(run.runs / "nan").values())


@pytest.mark.fault(1, "data.root that is not there, as a command", "one line, exit code 2")
def test_mistakes_are_one_line_and_end_before_training(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in (
        (("optimizer.lrr=1",), "optimizer.lrr: no such key; did you mean optimizer.lr?"),
        (("data.root=/nowhere",), "/nowhere"),
        (("trainer.accelerator=quantum",), "expected one of auto, cpu, gpu, mps, got 'quantum'"),
        (("trainer.accelerator=gpu", "trainer.devices=99"), "gpu"),
        (("data.skeleton=/nowhere.yaml",), "/nowhere.yaml"),
        (("output.root=/proc/nowhere",), "cannot be written"),
        (("trainer.val_every_steps=6",), "trainer.val_every_steps=6: an epoch has only 5 batches; take at most as"),
    ):
        assert run(*arguments, "--name", arguments[0][5]) == 2, arguments
        err = capsys.readouterr().err.strip().splitlines()
        assert message.lower() in err[-1].lower()
        assert err[-1].startswith("error: ")
        assert not any("Traceback" in line for line in err)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "data.root=/nowhere",
            "/nowhere/annotations/person_keypoints_train2017.json: there is no such annotation file",
        ),
        ("data.val_split=val2099", "person_keypoints_val2099.json: there is no such annotation file"),
        ("data.root=null", "data.root is not set"),
        ("data.detections.file=/nowhere.json", "/nowhere.json: no such file; correct data.detections.file"),
    ],
)
def test_missing_files_are_told_before_the_network_is_built(
    run: Any, override: str, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from experiments.training import session

    monkeypatch.setattr(session, "build_module", lambda *_: pytest.fail("pretrained weights may be fetched here"))
    assert run("--name", "missing", "data.view=person", override) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.fault(5, "photographs truncated, as a command", "one line, exit code 2")
def test_a_damaged_photograph_is_one_line_also_from_a_worker(
    run: Any, tiny_coco: Path, workers: int, capsys: pytest.CaptureFixture[str]
) -> None:
    for image in range(1, 11):
        file = tiny_coco / "train2017" / f"{image}.png"
        file.write_bytes(file.read_bytes()[:300])
    assert run("--name", "damaged", f"data.num_workers={workers}") == 2
    err = capsys.readouterr().err
    assert "truncated or damaged" in err.splitlines()[-1]
    assert "Traceback" not in err
    assert run("--name", "damaged", "data.train_split=val2017") == 0  # nothing was trained there


@pytest.mark.slow
def test_inspose_runs_from_the_command_line(tmp_path: Path) -> None:
    """The smoke preset as a user types it: rendered people in, figures, pictures and one JSON object out."""
    command = [sys.executable, "-m", "experiments.run", "--paper", "inspose", "--preset", "smoke", "--json"]
    command += [f"output.root={tmp_path}", "wandb.mode=disabled", "trainer.max_epochs=1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["protocol"] == "rendered-val-7-images-single-scale"
    assert 0 <= report["figures"]["AP"] <= 1
    folder = Path(report["directory"])
    assert folder.parent == tmp_path / "inspose"
    assert json.loads((folder / "predictions.json").read_text())
    assert Path(report["pictures"]).stat().st_size > 10_000
    terms = {row["metric"] for row in metrics(folder) if row["metric"].startswith("train/")}
    assert terms == {f"train/{name}" for name in ("cls", "keypoint", "disk_offset", "heatmap", "loss")}
    assert "warning" not in done.stderr.lower(), done.stderr


@pytest.mark.parametrize("paper", ["graph_pcnn", "inspose", "ssa", "ssa_refiner", "ssn"])
def test_print_config_shows_the_papers_step_on_devices_that_are_not_here(
    paper: str, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = compose(paper).optimizer
    command = ["--paper", paper, "--print-config", "trainer.devices=4", "trainer.num_nodes=2"]
    assert main(command) == 0
    out = capsys.readouterr().out
    first = out.splitlines()[0]
    assert first.startswith(f"# {recipe.reference_batch} samples a step (8 devices × ")
    assert first.endswith(f", learning rate {recipe.lr:g}")
    assert yaml.safe_load(out)["optimizer"]["lr"] == recipe.lr
    assert main([*command, "trainer.num_nodes=256"]) == 2
    assert "1024 devices are more than the" in capsys.readouterr().err


def test_the_command_line_answers_at_once(tmp_path: Path) -> None:
    program = (
        "import io, json, sys, contextlib; from experiments.run import main; codes = [];\n"
        "for arguments in (['--list'], ['--paper', 'inspose', '--print-config'], ['--paper', 'insposs'],\n"
        "                  ['--paper', 'inspose', '--preset', 'smokey'], [], ['--help']):\n"
        "    try: codes.append(main(arguments))\n"
        "    except SystemExit as end: codes.append(end.code)\n"
        "print(codes, sorted({'torch', 'pytorch_lightning'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[0, 0, 2, 2, 2, 0] []"
    assert "--preset smoke" in done.stdout
    papers, presets = ", ".join(list_papers()), ", ".join(list_presets("inspose"))
    assert done.stderr.splitlines() == [
        f"error: no paper 'insposs'; did you mean inspose? (papers: {papers})",
        f"error: inspose has no preset 'smokey'; did you mean smoke? (presets: {presets})",
        f"error: --paper is missing (papers: {papers})",
    ]


def test_a_run_whose_summary_nobody_reads_is_finished(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(report: dict[str, Any]) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("experiments.training.summary.print_summary", fail)
    with pytest.raises(BrokenPipeError):  # which ``run_program`` ends with
        run("--name", "whole")
    assert json.loads((run.runs / "whole" / "run.json").read_text())["state"] == "finished"
