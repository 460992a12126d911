"""Help and mistakes come before anything heavy is imported: no command may keep a reader waiting for torch."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = {
    "albumentations",
    "cv2",
    "matplotlib",
    "numpy",
    "pandas",
    "pycocotools",
    "pytorch_lightning",
    "rich",
    "scipy",
    "timm",
    "torch",
    "torchvision",
    "wandb",
}
COMMANDS = sorted(
    f"experiments.{path.stem}" for path in (ROOT / "experiments").glob("*.py") if "__main__" in path.read_text()
)
PROBE = """
import runpy, sys
command, sys.argv[1:] = sys.argv[1], sys.argv[2:]
try:
    runpy.run_module(command, run_name="__main__", alter_sys=True)
except SystemExit as end:
    code = end.code
print("\\nLOADED", code, *{name.partition(".")[0] for name in sys.modules})
"""


def loaded_by(command: str, *arguments: str) -> tuple[int, set[str], str]:
    """Exit code of a command, the top-level packages it imported, and what it printed."""
    run = subprocess.run(
        [sys.executable, "-c", PROBE, command, *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )
    text, _, loaded = run.stdout.rpartition("\nLOADED ")
    code, *packages = loaded.split()
    return int(code), set(packages), text + run.stderr


def test_the_commands_are_found():
    assert {"experiments.run", "experiments.data", "experiments.benchmark"} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_imports_nothing_heavy(command):
    code, packages, text = loaded_by(command, "--help")
    assert code == 0
    assert "usage: " in text
    assert not packages & HEAVY


def test_a_mistake_is_told_before_anything_heavy_is_imported():
    code, packages, text = loaded_by("experiments.run", "--paper", "inspose", "data.sizee=3")
    assert code == 2
    assert "data.size" in text
    assert not packages & HEAVY


def test_the_probe_sees_what_is_imported():
    _, packages, _ = loaded_by("experiments.data", "check", "--root", "/nowhere")
    assert "numpy" in packages


@pytest.mark.parametrize(
    "arguments",
    [
        *([command, "--help"] for command in [*COMMANDS, "datamodules.synthetic"]),
        ["experiments.run", "--list"],
        ["experiments.run", "--paper", "inspose", "--print-config"],
        ["experiments.run", "--list", "--json"],
        ["experiments.report", "--list"],  # by rich
        ["experiments.report", "--list", "--json"],
        ["experiments.data", "check", "--root", "{tiny}"],
        ["experiments.data", "check", "--root", "{tiny}", "--json"],
    ],
    ids=" ".join,
)
def test_a_reader_that_has_gone_ends_a_command_without_a_message(arguments, tiny_coco):
    reading, writing = os.pipe()
    os.close(reading)
    filled = [text.replace("{tiny}", str(tiny_coco)) for text in arguments]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}  # argparse hides its error
    run = subprocess.run(
        [sys.executable, "-m", *filled], cwd=ROOT, env=env, stdout=writing, stderr=subprocess.PIPE, text=True
    )
    os.close(writing)
    assert run.stderr == ""
    assert run.returncode in (141, -signal.SIGPIPE)


def test_a_command_without_stdout_does_its_work():
    command = f"exec {sys.executable} -m experiments.run --list >&-"
    run = subprocess.run(["sh", "-c", command], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert (run.returncode, run.stderr) == (0, "")
