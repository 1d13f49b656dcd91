"""The atlas of heads that papers describe: every row names a head that its model has, with a source."""

import re

import pytest

from lens.analysis.known_heads import known_heads, known_in
from lens.analysis.names import Head
from lens.load.entries import ENTRIES
from lens.planted.layout import INDUCTION, N_HEADS, N_LAYERS, PREVIOUS
from lens.planted.plants import NAMES, PLANTS


def test_every_row_is_a_head_of_a_known_model_with_its_paper():
    sizes = {entry.alias: entry.sizes for entry in ENTRIES}
    for one in known_heads():
        n_layers, n_heads = (N_LAYERS, N_HEADS) if one.model in NAMES else sizes[one.model][:2]
        assert 0 <= one.head.layer < n_layers
        assert 0 <= one.head.head < n_heads
        assert re.search(r" (19|20)\d\d, ", one.source) or one.model in NAMES
        assert one.role == one.role.strip() != ""
    rows = [one[:4] for one in known_heads()]
    assert len(rows) == len(set(rows))


@pytest.mark.parametrize("name", ["gpt2", "GPT2-small", "openai-community/gpt2"])
def test_a_model_is_known_by_all_its_names(name):
    known = known_in(name)
    assert [one.words for one in known[Head(9, 9)]] == ["name mover (Wang et al. 2022)"]
    assert [one.role for one in known[Head(10, 7)]] == ["negative name mover", "copy suppression"]
    assert known[Head(10, 7)][1].number.startswith("76.9%")


def test_checkpoints_and_strangers_are_not_known():
    assert known_in("gpt2", "checkpoint-100") == {}
    assert known_in("lens-2l") == known_in("someone/else") == {}


def test_planted_heads_are_those_that_were_planted():
    for plant in PLANTS:
        known = set(known_in(plant.name))
        assert known <= set(map(tuple, [*plant.heads, PREVIOUS]))
        assert (INDUCTION in known) == (plant.name != "planted-random")
