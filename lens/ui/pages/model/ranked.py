"""Tokens ranked by a number of theirs: the ends of the ranking beside its histogram, and the whole of it for export."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
import streamlit as st
from plotly.graph_objects import Figure

from lens.analysis.vocabulary import largest_first, names_of, vocabulary
from lens.figures.histogram import Band, Named, histogram
from lens.hooked import HookedTransformer
from lens.ui import parts
from lens.ui.calls import analyse

LISTED = 12  # tokens at each end


class Ranking(NamedTuple):
    """All tokens by ``values`` [d_vocab], largest first. ``name`` heads the column, ``words`` says what it is."""

    values: np.ndarray
    order: np.ndarray
    name: str
    words: str

    @property
    def ends(self) -> tuple[int, int]:
        """The ids with the largest and the smallest value."""
        return int(self.order[0]), int(self.order[-1])


def rank(values: np.ndarray, name: str, words: str) -> Ranking:
    """The ranking of these values."""
    return Ranking(values, largest_first(values), name, words)


def labels(model: HookedTransformer, ids: Sequence[int]) -> list[str]:
    """Tokens for reading; "id 7" where there is no text for an id."""
    return names_of(analyse(vocabulary, model) if model.tokenizer is not None else (), ids)


def table(model: HookedTransformer, ranking: Ranking, ids: np.ndarray | None = None) -> pd.DataFrame:
    """Tokens with their value, all of them in order unless ``ids`` says which."""
    ids = ranking.order if ids is None else ids
    return pd.DataFrame({"id": ids, "token": labels(model, ids), ranking.name: ranking.values[ids]})


def draw_ranking(
    model: HookedTransformer, ranking: Ranking, title: str, key: str, band: Band | None = None
) -> tuple[Figure, partial[pd.DataFrame]]:
    """Histogram and both ends; returns the figure, and what makes the whole table when it is asked for."""
    left, *places = st.columns([2.2, 1, 1], gap="medium")
    named = [Named(float(ranking.values[i]), label) for i, label in zip(ranking.ends, labels(model, ranking.ends))]
    figure = histogram(ranking.values, ranking.name, title=title, definition=ranking.words, band=band, named=named)
    config = {ranking.name: st.column_config.NumberColumn(format="%.4f", help=ranking.words)}
    for place, words, ids in zip(places, ("Largest", "Smallest"), (ranking.order, ranking.order[::-1])):
        place.markdown(f"**{words}**")
        alt = f"The tokens with the {words.lower()} {ranking.name}"
        rows = table(model, ranking, ids[:LISTED])
        place.dataframe(rows, hide_index=True, column_config=config, alt=alt)
    with left:
        high, low = (f"{end.value:.3f} for {end.label}" for end in named)
        parts.chart(figure, f"{title}. {len(ranking.order):,} tokens, from {low} to {high}.", key=key)
    return figure, partial(table, model, ranking)
