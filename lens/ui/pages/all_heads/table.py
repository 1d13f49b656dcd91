"""A row per head, a column per instrument; and the heads that are most like one."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import streamlit as st

from lens.analysis.head_table import alike
from lens.analysis.instruments.registry import instrument
from lens.analysis.names import Head
from lens.ui import parts
from lens.ui.explanation import Explanation, explain
from lens.ui.pages.all_heads import words
from lens.ui.shared import score_words
from lens.ui.shared.heads import head_table

if TYPE_CHECKING:
    from lens.analysis.head_table import Column
    from lens.analysis.score_results import HeadScore
    from lens.hooked import HookedTransformer
    from lens.ui.shared.every_instrument import Measured
    from lens.ui.view import ViewState

MOST_ALIKE = 10  # heads


class Heads(NamedTuple):
    """What the page shows: all instruments of all heads, and which heads are asked for."""

    measured: "Measured"
    columns: "Mapping[str, Column]"
    wanted: np.ndarray  # bool [layer, head]
    head: Head  # the current one


def rows(heads: Heads) -> pd.DataFrame:
    """The heads that are asked for, those first that are beyond chance in most tests; instruments by name."""
    layers, indices = heads.wanted.nonzero()
    above = [column.above[heads.wanted] for column in heads.columns.values() if column.above is not None]
    frame = pd.DataFrame(
        {"head": [str(Head(*pair)) for pair in zip(layers, indices)], "layer": layers, "index": indices}
    )
    if above:
        frame["beyond chance"] = np.sum(above, axis=0)
    for name, column in heads.columns.items():
        frame[name] = column.value[heads.wanted]
    order = ["beyond chance", *([] if "induction" not in frame else ["induction"])] if above else ["layer", "index"]
    return frame.sort_values(order, ascending=not above, kind="stable", ignore_index=True)


def settings(scores: "Mapping[str, HeadScore]") -> parts.Columns:
    """What each column means, and what it is called in a condition."""
    show, text = st.column_config.NumberColumn, st.column_config.TextColumn
    config = {
        "head": text(help="layer.head, both from 0. Click a row to select it.", width=70, pinned=True),
        "layer": show(help="Layer, from 0.", width=60),
        "index": show(help="Head within its layer, from 0; in a condition: head.", width=60),
        "beyond chance": show(
            help="In how many tests this head is beyond what chance gives the best of all.", width=80
        ),
    }
    for name, score in scores.items():
        help = f"{score.kind.definition} {score_words.threshold_words(score)} In a condition: {name}."
        config[name] = show(label=instrument(name).title, help=help, format="%.3f")
    return config


def draw_rows(heads: Heads) -> None:
    """The table while it fills."""
    frame = rows(heads)
    parts.table(frame, f"{len(frame)} heads, {len(heads.columns)} instruments so far", settings(heads.measured.scores))


def show_table(view: "ViewState", model: "HookedTransformer", heads: Heads) -> None:
    """All heads that are asked for; a click on a row selects its head."""
    frame = rows(heads)
    alt = f"{len(frame)} heads by {len(heads.columns)} instruments; sortable"
    head_table(view, frame, "all-heads:table", settings(heads.measured.scores), alt)
    if heads.measured.why:
        parts.aside("Not in the table", words.missing(heads.measured.why))


def show_alike(view: "ViewState", model: "HookedTransformer", heads: Heads) -> None:
    """The heads that are most like the current one."""
    others = alike(heads.columns, heads.head)
    shown = others[:MOST_ALIKE]
    frame = pd.DataFrame(
        {
            "head": [str(one.head) for one in shown],
            "layer": [one.head.layer for one in shown],
            "index": [one.head.head for one in shown],
            "apart": [one.distance for one in shown],
            "instruments": [one.n for one in shown],
        }
    )
    for name, column in heads.columns.items():
        frame[name] = [float(column.value[one.head]) for one in shown]
    show = st.column_config.NumberColumn
    config = settings(heads.measured.scores) | {
        "apart": show(
            help="Mean distance of the places of the two heads among all; 0: the same everywhere.", format="%.3f"
        ),
        "instruments": show(help="In which both have a number."),
    }
    text = words.nearest(heads.head, others)
    head_table(view, frame, "all-heads:alike", config, text)
    explain(view, model, Explanation(text, words.PLACES))
