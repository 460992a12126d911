import pytest

from datamodules.bootstrap import compare
from datamodules.evaluator import CocoKeypointEvaluator
from datamodules.matches import pack


@pytest.fixture
def matched(people_file, noisy):
    file, content = people_file(images=12)
    evaluator = CocoKeypointEvaluator(file)
    return lambda seed, pixels: pack(evaluator.match(noisy(content, seed, pixels)).values())


def test_a_file_is_as_good_as_itself(matched):
    result = compare(matched(0, 15.0), matched(0, 15.0), resamples=50)
    assert (result.difference, result.low, result.high, result.better) == (0.0, 0.0, 0.0, 0.5)


def test_the_interval_says_who_is_better(matched):
    worse, better = matched(0, 30.0), matched(1, 8.0)
    result = compare(worse, better, resamples=200)
    assert 0 < result.low < result.difference < result.high < 1
    assert result.better == 1.0
    assert result.difference == pytest.approx(result.second - result.first)
    mirrored = compare(better, worse, resamples=200)
    assert (mirrored.low, mirrored.high) == pytest.approx((-result.high, -result.low))


def test_equal_quality_is_told_as_such_and_seeds_repeat(matched):
    first, second = matched(4, 15.0), matched(5, 15.0)
    result = compare(first, second, resamples=200, seed=7)
    assert result.low < 0 < result.high
    assert result == compare(first, second, resamples=200, seed=7)
    other = compare(first, second, resamples=200, seed=8)
    assert other.low != result.low
    assert other.low == pytest.approx(result.low, abs=0.1)
    narrow = compare(first, second, resamples=200, seed=7, confidence=0.5)
    assert result.low < narrow.low < narrow.high < result.high


def test_what_cannot_be_compared_is_refused(matched, people_file):
    first = matched(0, 15.0)
    with pytest.raises(ValueError, match="same images"):
        compare(first, first._replace(num_people=first.num_people[:-1]))
    with pytest.raises(ValueError, match="at least 1"):
        compare(first, first, resamples=0)
    with pytest.raises(ValueError, match="nobody is annotated"):
        compare(first._replace(num_people=first.num_people * 0), first._replace(num_people=first.num_people * 0))
