import torch

from experiments.benchmarks.predict_video import main


def test_a_short_video_goes_all_four_ways() -> None:
    threads = torch.get_num_threads()
    found = main(["--frames", "6", "--batch", "2", "--rounds", "1", "--threads", "2", "--set", "data.size=64"])
    assert [row.threads for row in found] == [2]
    assert min(found[0][1:5]) > 0
    assert min(found[0].memory) > 50
    assert torch.get_num_threads() == threads
