from __future__ import annotations

from pathlib import Path

import pytest

from callbacks.wandb_mode import default_mode


@pytest.fixture(autouse=True)
def _no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


@pytest.mark.fault(22, "no login", "offline")
def test_online_only_where_someone_is_logged_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert default_mode() == "offline"
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password " + "k" * 40)
    assert default_mode() == "online"
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert default_mode() == "offline"
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    assert default_mode() == "online"
    monkeypatch.setenv("WANDB_MODE", "dryrun")
    assert default_mode() == "offline"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert default_mode() == "disabled"
