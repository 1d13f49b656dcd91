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
                "verdict": {True: "above chance", False: "within chance"}.get(found.above, _unsaid(score)),
            }
        )
    return pd.DataFrame(rows)


def _unsaid(score: Any) -> str:
    return "too few sequences" if score.kind.tested else "no test"


def show(view: ViewState, model: Any, head: tuple[int, int], data: Data) -> Finding:
    """The table, and the induction score in the outline."""
    sample, rows = data.sample, table(data.sample, head)
    show_number = st.column_config.NumberColumn
    config = {
        "value": show_number(format="%.3f", help="Mean over the random sequences; probability, or nats for entropies."),
        "control": show_number(format="%.3f", help="The same on the paired control, where nothing repeats."),
        "rank": st.column_config.TextColumn(help="1 is the largest score of all heads."),
        "verdict": st.column_config.TextColumn(
            help="Above the 95th percentile of the largest control of any head, which at least 16 sequences are needed "
            "for; scores without a test say so."
        ),
    }
    alt = f"Scores of head {head[0]}.{head[1]} with control and rank"
    st.dataframe(rows, hide_index=True, height="content", column_config=config, alt=alt)
    score = sample.scores["induction"]
    found = scores.facts(score, *head)
    st.caption(f"{sample.scores.source}. {score.score.note[:1].upper()}{score.score.note[1:]}.")
    st.html(f'<p class="lens-told">{verdict_words(sample, head, rows)}</p>')
    words = f"induction {number(found.value)}, rank {found.rank} of {found.total}"
    words += ", within chance" if found.above is False else ""
    row = {"induction": found.value, "induction rank": found.rank, "threshold": score.threshold}
    return Finding(words, scores.STATES[found.above], row)


def verdict_words(sample: Any, head: tuple[int, int], rows: pd.DataFrame) -> str:
    """Which of the tested scores are above chance, or why that cannot be said."""
    score = sample.scores["induction"]
    if not scores.has_verdict(score):
        return f"Whether head {head[0]}.{head[1]} scores above chance cannot be said. {scores.no_verdict(score)}"
    above = [row["score"].lower() for row in rows.to_dict("records") if row["verdict"] == "above chance"]
    verdict = f"above chance: {', '.join(above)}" if above else "within chance on every tested score"
    return f"Of the tested scores, head {head[0]}.{head[1]} is {verdict}."
