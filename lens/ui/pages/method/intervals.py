"""How often the intervals of Lens hold what they are about, on the Method page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from lens.analysis import coverage_of_pairs as pairs
from lens.analysis.coverage import MEASURED, WHAT, summary
from lens.analysis.stats import INTERVAL
from lens.ui.explanation import Explanation, explain

if TYPE_CHECKING:
    from lens.analysis.selftest.result import Row
    from lens.ui.view import ViewState

MISREADING = (
    "An interval is about the mean over such sequences, and a mean that rare sequences make is not known from 16 of "
    "them: no interval sees what did not occur. It is not about other heads, which were not asked for; the best of "
    "many needs its threshold."
)
RULE = f"Of a mean: {INTERVAL.rstrip(',')}. Of a share of successes: the exact binomial interval."

FRAMES_AND_NAMES = f"{pairs.WHAT} Studentised bootstrap that draws frames and names separately."


def table() -> pd.DataFrame:
    """One row per population, a column per size of the sample."""
    rows: dict[str, dict[str, object]] = {}
    for one in MEASURED:
        row = rows.setdefault(one.population, {"population": one.population})
        row[f"n = {one.n}"], row[f"percentile, n = {one.n}"] = one.held, one.percentile
    return pd.DataFrame(rows.values())


def pair_table() -> pd.DataFrame:
    """One row per design of prompts."""
    rows = [
        {
            "prompts": f"{one.n_pairs} pairs of {one.n_frames} frames and {one.n_names} names",
            "spread": "skewed" if one.skewed else "even",
            "held": one.held,
            "in the worst kind": one.worst,
        }
        for one in pairs.MEASURED
    ]
    return pd.DataFrame(rows)


def show_intervals(view: ViewState, rows: Sequence[Row]) -> None:
    """The measured coverage, and what it means for a reader."""
    measured = table()
    percent = {name: st.column_config.NumberColumn(format="percent") for name in measured.columns[1:]}
    alt = "Measured coverage of the intervals, by population and number of samples"
    st.dataframe(measured, hide_index=True, height="content", column_config=percent, alt=alt)
    percent = {name: st.column_config.NumberColumn(format="percent") for name in ("held", "in the worst kind")}
    alt = "Measured coverage of the intervals over frames and names, by design of the prompts"
    st.dataframe(pair_table(), hide_index=True, height="content", column_config=percent, alt=alt)
    about = (("Sample", WHAT), ("Frames and names", FRAMES_AND_NAMES), ("Intervals", RULE))
    notices = (summary(MEASURED), pairs.summary(pairs.MEASURED))
    explain(view, None, Explanation(notices, MISREADING, measured=about))
