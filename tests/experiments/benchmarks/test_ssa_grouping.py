from datamodules.skeleton import COCO
from experiments.benchmarks import ssa_grouping
from experiments.benchmarks.measuring import Setting
from experiments.benchmarks.ssa_grouping import THRESHOLD, as_set, plain_body_first, plain_part_first, scene
from lightning_modules.ssa.grouping import body_first, part_first, part_order, search_paths


def test_both_forms_group_alike() -> None:
    order, paths = part_order(COCO), search_paths(COCO)
    for people in (1, 4):
        candidates = scene(people, seed=people)
        assert as_set(part_first(candidates, order, threshold=THRESHOLD)) == as_set(plain_part_first(candidates, order))
        assert as_set(body_first(candidates, paths, threshold=THRESHOLD)) == as_set(plain_body_first(candidates, paths))


def test_every_column_has_a_figure_or_a_phrase(monkeypatch) -> None:
    monkeypatch.setattr(Setting, "seconds", lambda self, run: float(run() is not None))
    lines = ssa_grouping.lines(Setting())
    assert [line.name for line in lines] == ["SSA part-first grouping, 10 people", "SSA body-first grouping, 10 people"]
    for line in lines:
        assert line.ours == line.naive == line.limit == 1000
        assert line.unexplained == []
