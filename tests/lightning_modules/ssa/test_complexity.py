import torch

from datamodules.skeleton import COCO
from lightning_modules.ssa.complexity import rows
from lightning_modules.ssa.config import Config


def test_rows_of_table_7_with_what_the_old_counter_printed() -> None:
    found = {row.row: row for row in rows(Config(), COCO)}
    with torch.device("meta"):
        built = {name: row.build() for name, row in found.items()}
    assert built["res101, i640"].parameters == built["res101, i800"].parameters == 45_859_217
    assert built["res152, i640"].parameters == 61_502_865
    for name, printed in (
        ("res101, i640", "44.965M / 102.276G"),
        ("res152, i640", "60.609M / 132.683G"),
        ("res101, i800", "44.965M / 159.806G"),
    ):
        assert printed in found[name].note
    parts = sum(count.parameters for name, count in built.items() if name.startswith("part: "))
    assert parts == built["configured model"].parameters == 45_859_217
    assert built["refiner TransPose-R-A4"].parameters + 196_608 == 5_985_105
