"""A W&B sweep over the rows of a table: each agent runs ``experiments.run`` with one row's switches."""

from __future__ import annotations

from typing import Any

import yaml

from experiments.tables.table import Row, Table


def sweep_file(
    table: Table, rows: list[Row], seeds: list[int], preset: str | None, overrides: list[str], project: str
) -> str:
    """The YAML of ``wandb sweep FILE``: a grid of rows and seeds.

    A row sets several keys at once, which a grid cannot say: ``experiments.ablate --row R --seed K`` turns its name
    into the row's switches and runs that one.
    """
    content: dict[str, Any] = {
        "name": f"{table.paper}/{table.slug}",
        "description": f"{table.label}: {table.title}",
        "project": project,
        "method": "grid",
        "metric": {"name": "val/AP", "goal": "maximize"},
        "parameters": {"row": {"values": [row.slug for row in rows]}, "seed": {"values": seeds}},
        "command": [
            "${env}",
            "${interpreter}",
            "-m",
            "experiments.ablate",
            f"--paper={table.paper}",
            f"--table={table.number}",
            *([f"--preset={preset}"] if preset else []),
            "--no-probe",
            "${args}",
            *overrides,
        ],
    }
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
