"""``experiments.ablate`` with the toy paper and its table: ``python toy_ablate.py --paper toy --table 1 …``.

Environment: as ``toy_paper``, whose ``TOY_RECIPES`` also holds the table.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import toy_paper

from experiments import ablate
from experiments.ablation import jobs
from experiments.tables import loader

TABLE = """
paper: toy
protocols:
  val: {split: val2017, boxes: none, flip: false, scales: single, schedule: 3 epochs}
tables:
  "1":
    title: Where the answer starts
    protocol: val
    baseline: near
    columns: [AP, AP50]
    rows:
      - row: near
        set: {model.start: 3.0}
        published: {AP: 61.5, AP50: 80.0}
      - row: far away
        set: {model.start: 12.0}
        published: {AP: 60.25}
      - row: somebody else's
        published: {AP: 50.0, AP50: "> 70.5"}
"""


def register(folder: Path) -> None:
    """The toy paper, its table and its runner."""
    toy_paper.register(folder)
    (folder / "tables").mkdir(exist_ok=True)
    (folder / "tables" / "toy.yaml").write_text(TABLE)
    loader.TABLES = folder / "tables"
    jobs.RUNNER = (sys.executable, str(Path(toy_paper.__file__)))


if __name__ == "__main__":
    register(Path(os.environ["TOY_RECIPES"]))
    sys.exit(ablate.main())
