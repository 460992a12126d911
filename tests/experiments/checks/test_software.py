from pathlib import Path

import pytest

from experiments.checks.finding import State
from experiments.checks.software import declared, packages, pinned, python_version, torch_and_torchvision


def test_python_below_the_least_is_wrong() -> None:
    assert python_version(">=3.10", "3.10.0").state is State.ok
    old = python_version(">=3.10", "3.9.18")
    assert old.state is State.wrong
    assert "3.9.18" in old.found
    assert ">=3.10" in old.found


def test_packages_missing_old_unpinned_and_as_locked(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {"torch": "2.9.1+cpu", "numpy": "2.1", "rich": "14.0", "Foo.Bar": "1.0+cu130"}

    def version(name: str) -> str:
        from importlib.metadata import PackageNotFoundError

        if name not in installed:
            raise PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr("experiments.checks.software.metadata.version", version)
    wanted = ["torch>=2.10", "numpy", "rich>=13", "Foo.Bar", "absent"]
    found = {finding.name: finding for finding in packages(wanted, {"numpy": "2.2", "rich": "14.0", "foo-bar": "1.0"})}
    assert {name: finding.state for name, finding in found.items()} == {
        "torch": State.wrong,
        "numpy": State.absent,
        "rich": State.ok,
        "Foo.Bar": State.ok,  # a local build of the pinned version is that version
        "absent": State.wrong,
    }
    assert "2.1" in found["numpy"].found
    assert "2.2" in found["numpy"].found
    assert all(finding.fix for finding in found.values() if finding.state is not State.ok)


def test_a_lock_gives_the_version_of_this_python(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text(
        "numpy==1.0 ; python_full_version < '3.0' \\\n    --hash=sha256:00\n"
        "numpy==2.0 ; python_full_version >= '3.0' \\\n    --hash=sha256:11\n"
        "Typing_Extensions==4.1 \\\n    --hash=sha256:22\n"
    )
    assert pinned(lock) == {"numpy": "2.0", "typing-extensions": "4.1"}
    assert pinned(tmp_path / "none") == {}


def test_the_repository_declares_what_it_needs() -> None:
    python, required = declared()
    assert python.startswith(">=3.")
    assert any(line.startswith("torch>=") for line in required)
    assert {"torch", "numpy"} <= set(pinned())


def test_torchvision_belongs_to_torch() -> None:
    assert torch_and_torchvision().state is State.ok
