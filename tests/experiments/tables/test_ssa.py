import torch

from experiments.config import compose
from experiments.tables.loader import load_tables
from experiments.tables.overrides import row_overrides
from lightning_modules.ssa.network import Network


def test_the_rows_that_compare_layers_and_heads_build() -> None:
    tables = load_tables("ssa")
    for table, rows in ((tables["4"], tables["4"].ours), (tables["5"], tables["5"].ours[1:])):
        for row in rows:
            model = compose("ssa", overrides=row_overrides(table, row, None)).model
            model.backbone.weights = None
            with torch.device("meta"):
                Network(model, 17)
