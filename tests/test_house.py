"""The rules of the house that a machine can hold: who may import whom, and what no file may contain."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("lightning_modules", "datamodules", "losses", "callbacks", "experiments")
ALLOWED = {
    "losses": {"losses"},
    "datamodules": {"datamodules"},
    "lightning_modules": {"lightning_modules", "losses", "datamodules"},
    "callbacks": {"callbacks", "lightning_modules", "datamodules"},
    "experiments": set(PACKAGES),
}
CONTRACTS = {"datamodules.contracts", "datamodules.skeleton"}
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def imported_modules(path: Path) -> set[str]:
    """Full names of the modules a file imports, at top level or inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module)
    return found


def parts(path: Path) -> tuple[str, ...]:
    return path.relative_to(ROOT).with_suffix("").parts


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path: Path) -> None:
    package, *rest = parts(path)
    for module in imported_modules(path):
        top = module.split(".")[0]
        if top not in PACKAGES:
            if package == "losses":
                assert top in ("torch", "__future__", "typing", "math", "enum", "collections"), (
                    f"losses import torch only, not {module}"
                )
            continue
        assert top in ALLOWED[package], f"{path} imports {module}"
        if package == "lightning_modules":
            if top == "datamodules":
                assert module in CONTRACTS, f"{path} imports {module}: only the contracts cross this wall"
            if top == "lightning_modules" and rest[0] not in ("papers", "shared"):
                assert module.split(".")[1] in (rest[0], "shared"), f"{path} imports another paper: {module}"
            if rest[0] == "shared" and top == "lightning_modules":
                assert module.split(".")[1] == "shared", f"{path} is shared but imports a paper: {module}"


def test_the_rule_sees_imports(tmp_path: Path) -> None:
    file = tmp_path / "example.py"
    file.write_text("import numpy as np\ndef f():\n    from losses.focal import Focal\n")
    assert imported_modules(file) == {"numpy", "losses.focal"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text())), f"{path} has no docstring"


@pytest.mark.parametrize(
    "path", [path for path in SOURCES if path.name == "config.py"], ids=lambda path: str(path.relative_to(ROOT))
)
def test_configuration_is_told_before_torch_is_loaded(path: Path) -> None:
    heavy = {"torch", "pytorch_lightning", "timm", "cv2", "albumentations", "wandb", "numpy"}
    top_level = {
        alias.name.split(".")[0] if isinstance(node, ast.Import) else (node.module or "").split(".")[0]
        for node in ast.parse(path.read_text()).body
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    assert not top_level & heavy


@pytest.mark.parametrize(("file", "hashes"), [("requirements.lock", 100), ("requirements-peers.txt", 50)])
def test_the_lock_names_no_host(file: str, hashes: int) -> None:
    lock = (ROOT / file).read_text()
    assert "://" not in lock
    pins = re.sub(r"(?m)^#.*", "", lock)
    assert set(re.findall(r"(?<!\S)--([a-z-]+)", pins)) == {"hash"}  # no option that says where packages come from
    assert lock.count("--hash=sha256:") > hashes


def test_no_peer_of_the_benchmark_is_installed_with_the_suite() -> None:
    pinned = {line.split("==")[0] for line in (ROOT / "requirements.lock").read_text().splitlines() if "==" in line}
    peers = {"ultralytics", "mmpose", "mmdet", "mmcv-lite", "mmengine", "faster-coco-eval"}
    assert peers.isdisjoint(pinned)
    assert all(f"{name}==" in (ROOT / "requirements-peers.txt").read_text() for name in peers)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_logged_to_lightnings_progress_bar(path: Path) -> None:
    """It has none here, and reading such a value (callbacks do, every step) makes the host wait for the device."""
    assert "prog_bar=True" not in path.read_text()


IGNORED = re.compile(r"#\s*(type:\s*ignore(\[[\w, -]+\])?|noqa(:\s*[A-Z]+\d+)?)(?P<rest>.*)")


def has_no_reason(line: str) -> bool:
    """Whether a line switches a check off and says not a word about why."""
    found = IGNORED.search(line)
    return found is not None and re.search(r"\w+ \w+", found["rest"]) is None


def test_a_check_that_is_ignored_has_its_reason_on_the_line() -> None:
    for path in [*SOURCES, *sorted((ROOT / "tests").rglob("*.py"))]:
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            assert not has_no_reason(line), f"{path}:{number}: {line.strip()}"


def test_the_rule_sees_reasons() -> None:
    assert has_no_reason("x = 1  # type: " + "ignore[arg-type]")
    assert has_no_reason("import x  # no" + "qa: F401")
    assert not has_no_reason("import x  # no" + "qa: F401, it registers itself")
