"""A view whose results are all kept draws each of its figures and tables once; what still fills is not kept."""

from collections import Counter

import numpy as np
import pytest
import streamlit as st
import torch

from lens.analysis.rank_correlation import rank_correlation
from lens.ui.calls import is_kept
from lens.ui.shared.computing import Cells, compute
from tests.ui.conftest import app_page, fine

VIEWS = (
    ("ov_copying", {"more": "table"}),
    ("ov_copying", {"more": "data", "on": "text", "null": "gaussian"}),
    ("composition", {"more": "prefix"}),
    ("ablation", {"more": "grid", "task": "repeated"}),
    ("ablation", {"more": "set", "task": "repeated"}),
    ("ablation", {"more": "few_shot", "task": "repeated"}),
    ("patching", {"task": "repeated", "more": "path"}),
    ("training_dynamics", {"more": "table"}),
    ("head_scores", {}),
)


@pytest.fixture
def drawn(monkeypatch):
    """What Streamlit was asked to draw: charts by their description, tables as well."""
    counts = Counter()

    def counted(draw):
        def draw_and_count(*args, alt="", **rest):
            counts[alt] += 1
            return draw(*args, alt=alt, **rest)

        return draw_and_count

    for name in ("plotly_chart", "dataframe"):
        monkeypatch.setattr(st, name, counted(getattr(st, name)))
    return counts


@pytest.mark.parametrize(("page", "query"), VIEWS)
def test_a_kept_view_draws_everything_once(drawn, page, query):
    query = {"model": "lens-2l", "seqs": "16", "n": "12", **query}
    fine(app_page(page, **query).run())
    drawn.clear()
    fine(app_page(page, **query).run())
    assert drawn
    assert [(alt, n) for alt, n in drawn.items() if n > 1 or "so far" in alt] == []


def test_what_still_fills_is_the_same_and_not_kept():
    x, y = np.arange(12.0).reshape(3, 4), np.arange(12.0).reshape(3, 4) ** 2
    meanwhile = compute(rank_correlation, x, y, 1, kept=False)
    assert not is_kept(rank_correlation, x, y, 1)
    assert meanwhile == rank_correlation(x, y, 1)


def test_numbers_that_still_fill_are_arrays_as_well():
    value = compute(torch.add, torch.ones(2), torch.ones(2), kept=False)
    assert isinstance(value, np.ndarray)
    assert value.tolist() == [2.0, 2.0]
    assert not Cells(torch.add, (1, 2), (torch.ones(2),)).are_kept()
