from experiments.benchmarks.predict_video import main


def test_a_short_video_goes_all_three_ways() -> None:
    found = main(6, 4, "data.size=64", "data.max_size=64")
    assert min(found.alone, found.in_turn, found.overlapped) > 0
    assert len(found.memory) == 3
    assert min(found.memory) > 50
