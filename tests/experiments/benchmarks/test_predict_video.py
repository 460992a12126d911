import torch

from experiments.benchmarks.predict_video import Measured, _line, main


def test_a_short_video_goes_all_four_ways() -> None:
    threads = torch.get_num_threads()
    found = main(["--frames", "7", "--batch", "2", "--rounds", "1", "--threads", "2", "--set", "data.size=64"])
    assert [row.threads for row in found] == [2]
    assert min(found[0][1:5]) > 0
    assert min(found[0].memory) > 50
    assert torch.get_num_threads() == threads


def test_a_line_is_of_milliseconds_a_frame() -> None:
    line = _line(Measured(1, 20.0, 25.0, 10.0, 40.0, (100.0, 100.0), 0.0), 2)
    assert (line.naive, line.ours, line.limit) == (100, 25, 50)
    assert line.ratio == 2
    assert line.unexplained == []
