"""Tokens ranked by a number of theirs: the ends of the ranking beside its histogram, and the whole of it for export."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import streamlit as st

from lens.analysis.vocabulary import largest_first, names_of, vocabulary
from lens.figures.histogram import Band, Named, histogram
from lens.ui import parts
from lens.ui.calls import analyse

SHOWN = 12  # tokens at each end


class Ranking(NamedTuple):
    """All tokens by ``values`` [d_vocab], largest first. ``name`` heads the column, ``words`` says what it is."""

    values: np.ndarray
    order: np.ndarray
    name: str
    words: str

    @property
    def first(self) -> int:
        """The id with the largest value."""
        return int(self.order[0])

    @property
    def last(self) -> int:
        """The id with the smallest value."""
        return int(self.order[-1])


def rank(values: np.ndarray, name: str, words: str) -> Ranking:
    """The ranking of these values."""
    return Ranking(values, largest_first(values), name, words)


def labels(model: Any, ids: Sequence[int]) -> list[str]:
    """Tokens for reading; "id 7" where there is no text for an id."""
    return names_of(analyse(vocabulary, model) if model.tokenizer is not None else (), ids)


def table(model: Any, ranking: Ranking, ids: np.ndarray | None = None) -> pd.DataFrame:
    """Tokens with their value, all of them in order unless ``ids`` says which."""
    ids = ranking.order if ids is None else ids
    return pd.DataFrame({"id": ids, "token": labels(model, ids), ranking.name: ranking.values[ids]})


def whole(model: Any, ranking: Ranking) -> partial:
    """The whole table, made when it is asked for."""
    return partial(table, model, ranking)


def show_ranking(model: Any, ranking: Ranking, title: str, key: str, band: Band | None = None) -> Any:
    """Histogram and both ends; returns the figure."""
    left, *places = st.columns([2.2, 1, 1], gap="medium")
    ends = zip((ranking.first, ranking.last), labels(model, (ranking.first, ranking.last)))
    named = [Named(float(ranking.values[i]), label) for i, label in ends]
    figure = histogram(ranking.values, ranking.name, title=title, definition=ranking.words, band=band, named=named)
    config = {ranking.name: st.column_config.NumberColumn(format="%.4f", help=ranking.words)}
    for place, words, ids in zip(places, ("Largest", "Smallest"), (ranking.order[:SHOWN], ranking.order[::-1][:SHOWN])):
        with place:
            st.markdown(f"**{words}**")
            alt = f"The tokens with the {words.lower()} {ranking.name}"
            st.dataframe(table(model, ranking, ids), hide_index=True, column_config=config, alt=alt)
    with left:
        high, low = (f"{one.value:.3f} for {one.label}" for one in named)
        parts.chart(figure, f"{title}. {len(ranking.order):,} tokens, from {low} to {high}.", key=key)
    return figure
