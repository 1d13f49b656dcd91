"""How often the intervals of Lens hold what they are about, on the Method page."""

import pandas as pd
import streamlit as st

from lens.analysis import coverage_of_pairs as pairs
from lens.analysis.coverage import MEASURED, WHAT, summary
from lens.analysis.stats import INTERVAL
from lens.ui import parts


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


def show_intervals() -> None:
    """The measured coverage, and what it means for a reader."""
    rows = table()
    percent = {name: st.column_config.NumberColumn(format="percent") for name in rows.columns[1:]}
    alt = "Measured coverage of the intervals, by population and number of samples"
    st.dataframe(rows, hide_index=True, height="content", column_config=percent, alt=alt)
    parts.notice(f"{summary(MEASURED)} {pairs.summary(pairs.MEASURED)}")
    parts.aside("Measured", WHAT)
    percent = {name: st.column_config.NumberColumn(format="percent") for name in ("held", "in the worst kind")}
    alt = "Measured coverage of the intervals over frames and names, by design of the prompts"
    st.dataframe(pair_table(), hide_index=True, height="content", column_config=percent, alt=alt)
    parts.aside("Frames and names", f"{pairs.WHAT} Studentised bootstrap that draws frames and names separately.")
    parts.aside(
        "Intervals", f"Of a mean: {INTERVAL.rstrip(',')}. Of a share of successes: the exact binomial interval."
    )
    parts.misreading(
        "An interval is about the mean over such sequences, and a mean that rare sequences make is not known from 16 "
        "of them: no interval sees what did not occur. It is not about other heads, which were not asked for; the best "
        "of many needs its threshold."
    )
