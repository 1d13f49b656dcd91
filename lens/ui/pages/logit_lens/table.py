"""The table of layers by positions: the top token in each cell, coloured by the chosen number."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from lens.figures.cell_table import cell_table
from lens.figures.strip import Scale
from lens.figures.theme import number
from lens.ui.components import cells

if TYPE_CHECKING:
    from lens.hooked import HookedTransformer
    from lens.ui.pages.logit_lens.controls import Place
    from lens.ui.pages.logit_lens.reading import Lens
    from lens.ui.view import ViewState

MARK = {"final": "underlined: already the output's top token", "next": "underlined: the token that came"}
OF = {"final": "the output's top token", "next": "the token that came"}


def draw_table(view: ViewState, model: HookedTransformer, lens: Lens, place: Place) -> str:
    """The clickable table; returns its HTML."""
    some = slice(place.start, place.stop)
    values, scale = colouring(lens, view["number"], model.cfg.d_vocab)
    chosen = (place.row, place.position - place.start)
    html = cell_table(
        [row[some] for row in lens.words],
        values[:, some],
        [row.label for row in lens.rows],
        lens.labels[some],
        scale=scale,
        hover=[row[some] for row in hovers(lens)],
        corner="layer",
        marked=(lens.found.rank == 0)[:, some],
        selected=chosen if 0 <= chosen[1] < place.stop - place.start else None,
    )
    cells(html, chosen, "logit_lens:table", partial(_choose, view, place.start))
    return html


def colouring(lens: Lens, name: str, d_vocab: int) -> tuple[np.ndarray, Scale]:
    """The values that colour the cells and their scale, the same for every prompt of a model."""
    found, even, of = lens.found, float(np.log(d_vocab)), OF[lens.chosen.about]
    mark = MARK[lens.chosen.about]
    if name == "logprob":
        scale = Scale(f"log-probability of {of} (nats)", -even, 0, ends=(f"−{even:.1f}: an even guess", "0"), mark=mark)
        return found.logprob, scale
    if name == "rank":
        values = np.where(found.rank < 0, np.nan, -np.log1p(np.maximum(found.rank, 0)))
        return values, Scale(f"rank of {of} (log)", -even, 0, ends=(f"{d_vocab:,}", "1: the top"), mark=mark)
    if name == "top":
        return np.exp(found.top_logprob), Scale("probability of the word in the cell", ends=("0", "1"), mark=mark)
    if name == "entropy":
        certain = ("0: certain", f"{even:.1f}: an even guess among {d_vocab:,}")
        return found.entropy, Scale("entropy (nats)", 0, even, ends=certain, mark=mark)
    if name == "kl":
        return found.kl, Scale("KL to the output (nats)", 0, even, mark=mark)
    return np.exp(found.logprob), Scale(f"probability of {of}", ends=("0", "1"), mark=mark)


def hovers(lens: Lens) -> list[list[str]]:
    """What a cell says when the mouse rests on it, and what a screen reader reads."""
    found, of = lens.found, OF[lens.chosen.about]
    texts = []
    for place, row in enumerate(lens.rows):
        texts.append([])
        for position, label in enumerate(lens.labels):
            at = (place, position)
            text = f"{row.label} · {label} · {lens.words[place][position]} {number(np.exp(found.top_logprob[at]))}"
            if found.rank[at] >= 0:
                text += f" · {of} {number(np.exp(found.logprob[at]))}, rank {found.rank[at] + 1:,}"
            texts[-1].append(f"{text} · entropy {found.entropy[at]:.2f} · KL {found.kl[at]:.2f} nats")
    return texts


def _choose(view: ViewState, start: int, row: int, column: int) -> None:
    view.set(row=row, position=start + column)
