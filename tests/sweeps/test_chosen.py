"""Which checkpoints are meant, in every form, and what is said of a form that there is not."""

import pytest

from lens.load.checkpoints import checkpoints
from lens.sweeps.chosen import chosen_checkpoints, spread


@pytest.mark.parametrize(
    ("text", "indices"),
    [
        ("all", [0, 1, 2, 3, 4]),
        ("last", [4]),
        ("0,3,-1", [0, 3, 4]),
        ("3,3,1", [1, 3]),
        ("at:0,40,400", [0, 2, 4]),
        ("log:1", [4]),
        ("log:2", [0, 4]),
        ("log:99", [0, 1, 2, 3, 4]),
    ],
)
def test_every_form(run, text, indices):  # steps 0, 10, 40, 100, 400
    assert chosen_checkpoints(run, text) == indices


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("log", "'log' names no checkpoints. Write one of: all; last; log:20"),
        ("log:0", "names no checkpoints"),
        ("log:x", "names no checkpoints"),
        ("1,,2", "names no checkpoints"),
        ("", "names no checkpoints"),
        ("7", "has 5 checkpoints, index 0 … 4"),
        ("at:50", "no checkpoint at 50 steps; the nearest is 40"),
    ],
)
def test_what_there_is_not(run, text, sentence):
    with pytest.raises(ValueError, match=sentence):
        chosen_checkpoints(run, text)


def test_spread_is_even_in_the_logarithm_and_fewer_are_a_beginning_of_more():
    labels = [0, *(2**power for power in range(16))]  # evenly apart: 0 is as far from 1 as 1 from 2
    assert sorted(spread(labels, 5)) == [0, 4, 8, 12, 16]
    assert sorted(spread(labels, 9)) == list(range(0, 17, 2))
    for count in range(1, len(labels) + 3):
        order = spread(labels, count)
        assert len(set(order)) == len(order) == min(count, len(labels))
        assert order == spread(labels, len(labels))[: len(order)]
    assert {0, 153} <= set(spread(checkpoints("pythia-70m").labels, 20))
