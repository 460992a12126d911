import pytest

from datamodules.sampler import Draw, EpochSampler


def test_every_sample_once_an_epoch_in_another_order():
    sampler = EpochSampler(10, seed=1)
    first, second = list(sampler), list(sampler)
    assert sorted(draw.sample for draw in first) == list(range(10))
    assert {draw.epoch for draw in first} == {0}
    assert {draw.epoch for draw in second} == {1}
    assert [draw.sample for draw in first] != [draw.sample for draw in second]


def test_an_epoch_can_be_taken_up_again():
    sampler, resumed = EpochSampler(10, seed=1), EpochSampler(10, seed=1)
    for _ in range(3):
        list(sampler)
    resumed.set_epoch(3)
    assert list(sampler) == list(resumed)
    assert list(EpochSampler(10, seed=2)) != list(EpochSampler(10, seed=1))


def test_ranks_share_one_order():
    ranks = [list(EpochSampler(7, num_replicas=2, rank=rank)) for rank in range(2)]
    assert [len(rank) for rank in ranks] == [4, 4] == [len(EpochSampler(7, num_replicas=2, rank=0))] * 2
    merged = [draw for pair in zip(*ranks, strict=True) for draw in pair]
    assert merged[:7] == list(EpochSampler(7))
    assert merged[7] == merged[0]


@pytest.mark.fault(21, "fewer samples than ranks, training", "every rank has one")
def test_fewer_samples_than_ranks():
    ranks = [list(EpochSampler(2, num_replicas=5, rank=rank)) for rank in range(5)]
    assert all(len(rank) == 1 for rank in ranks)
    assert {rank[0].sample for rank in ranks} == {0, 1}
    assert isinstance(ranks[0][0], Draw)


def test_a_pass_can_start_where_another_stopped():
    whole, resumed = EpochSampler(9, seed=4), EpochSampler(9, seed=4)
    whole.set_epoch(2)
    resumed.start_at(2, samples=4)
    assert list(resumed) == list(whole)[4:]
    assert list(resumed) == list(whole)  # later passes are whole
