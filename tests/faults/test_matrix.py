"""Every row of the fault matrix has a test, and every mark names a row."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.faults.matrix import ROWS

TESTS = Path(__file__).parents[1]


def marked_rows() -> dict[int, list[str]]:
    """Row -> the tests that carry ``pytest.mark.fault(row, …)``."""
    found: dict[int, list[str]] = {}
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            for decorator in getattr(node, "decorator_list", []):
                if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.fault":
                    row, what, expected = (ast.literal_eval(argument) for argument in decorator.args)
                    assert what, f"{path}: {node}"
                    assert expected, f"{path}: {node}"
                    found.setdefault(row, []).append(f"{path.name}::{getattr(node, 'name', '')}")
    return found


def test_every_row_has_a_test() -> None:
    assert set(marked_rows()) == set(ROWS)
