"""Second link: every score of the head on repeated random tokens, with its control and its rank among all heads."""

from typing import Any

import pandas as pd
import streamlit as st

from lens.figures.theme import number
from lens.ui.pages.head.chain import Data, Finding
from lens.ui.shared import score_words as scores
from lens.ui.view import ViewState


def table(sample: Any, head: tuple[int, int]) -> pd.DataFrame:
    """A row per score."""
    rows = []
    for name, title in scores.TITLES.items():
        if name not in sample.scores.scores:
            continue
        score = sample.scores[name]
        found = scores.facts(score, *head)
        rows.append(
            {
                "score": title,
                "value": found.value,
                "95% interval": scores.interval(found).strip() or "none",
                "control": found.control,
                "rank": f"{found.rank} of {found.total}",
                "verdict": {True: "above chance", False: "within chance", None: "no test"}[found.above],
            }
        )
    return pd.DataFrame(rows)


def show(view: ViewState, model: Any, head: tuple[int, int], data: Data) -> Finding:
    """The table, and the induction score in the outline."""
    sample, rows = data.sample, table(data.sample, head)
    show_number = st.column_config.NumberColumn
    config = {
        "value": show_number(format="%.3f", help="Mean over the random sequences; probability, or nats for entropies."),
        "control": show_number(format="%.3f", help="The same on the paired control, where nothing repeats."),
        "rank": st.column_config.TextColumn(help="1 is the largest score of all heads."),
        "verdict": st.column_config.TextColumn(
            help="Above the 95th percentile of the largest control of any head; scores without a test say so."
        ),
    }
    alt = f"Scores of head {head[0]}.{head[1]} with control and rank"
    st.dataframe(rows, hide_index=True, height="content", column_config=config, alt=alt)
    score = sample.scores["induction"]
    found = scores.facts(score, *head)
    st.caption(f"{sample.scores.source}. {score.score.note[:1].upper()}{score.score.note[1:]}.")
    above = [row["score"].lower() for row in rows.to_dict("records") if row["verdict"] == "above chance"]
    verdict = f"above chance: {', '.join(above)}" if above else "within chance on every tested score"
    st.html(f'<p class="lens-told">Of the tested scores, head {head[0]}.{head[1]} is {verdict}.</p>')
    words = f"induction {number(found.value)}, rank {found.rank} of {found.total}"
    row = {"induction": found.value, "induction rank": found.rank, "threshold": score.threshold}
    return Finding(words if found.above else f"{words}, within chance", "found" if found.above else "none", row)
