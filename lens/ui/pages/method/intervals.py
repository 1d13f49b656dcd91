"""How often the intervals of Lens hold what they are about, on the Method page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from lens.analysis import coverage
from lens.analysis import coverage_of_pairs as pairs
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


def draw_intervals(view: ViewState, rows: Sequence[Row]) -> None:
    """The measured coverage, and what it means for a reader."""
    of_means, of_pairs = pd.DataFrame(coverage.table()), pd.DataFrame(pairs.table())
    for measured, shares, about in (
        (of_means, of_means.columns[1:], "of the intervals, by population and number of samples"),
        (of_pairs, ("held", "in the worst kind"), "of the intervals over frames and names, by design of the prompts"),
    ):
        percent = {name: st.column_config.NumberColumn(format="percent") for name in shares}
        alt = f"Measured coverage {about}"
        st.dataframe(measured, hide_index=True, height="content", column_config=percent, alt=alt)
    about = (("Sample", coverage.WHAT), ("Frames and names", FRAMES_AND_NAMES), ("Intervals", RULE))
    notices = (coverage.summary(coverage.MEASURED), pairs.summary(pairs.MEASURED))
    explain(view, None, Explanation(notices, MISREADING, measured=about))
