"""Third link: the eigenvalues of the head's OV circuit beside its null, and what it writes on data."""

from typing import Any

import streamlit as st

from lens.analysis.copying_on_data import copying_on_data
from lens.analysis.ov_copying import DRAWS
from lens.figures.eigenvalues import eigenvalues
from lens.figures.fitted import narrow
from lens.figures.theme import number
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.pages.head.chain import Data, Finding
from lens.ui.pages.ov_copying import words as ov_words
from lens.ui.shared.copying import copied
from lens.ui.store import to_torch
from lens.ui.view import ViewState

SHOWN = 40  # draws of the null that are drawn as points
WIDTH = 520  # pixels of the column


def show(view: ViewState, model: Any, head: tuple[int, int], data: Data) -> Finding:
    """The scatter, its sentence, and the direct path on repeats."""
    found = copied(model, head, view["seed"])
    if found is None:
        parts.not_computed(f"head {head[0]}.{head[1]} writes nothing: all its eigenvalues are 0.")
        return Finding("writes nothing", "none")
    title = f"Head {head[0]}.{head[1]}: OV eigenvalues, full circuit"
    note = f"Grey: {SHOWN} of {DRAWS} random rotations between values and output. Right is copying."
    figure = eigenvalues(
        found.eigenvalues, found.draws[:SHOWN], title=title, definition=note, log=view["radius"] == "log"
    )
    parts.chart(narrow(figure, WIDTH), f"{title}. {note}", key="head:eigenvalues")
    st.markdown(found.told, help=parts.metric_help(ov_words.DEFINITIONS["full"], "−1 … 1", found.chance))
    gain = _on_data(view, model, head, data, found.score, found.high)
    state = "found" if found.verdict == "above" else "none"
    null = [found.low, found.high]
    row = {"copying score": found.score, "copying rank": found.rank, "null": null, "ranks gained on repeats": gain}
    return Finding(f"{number(found.score)}, {found.verdict} its null", state, row)


def _on_data(view: ViewState, model: Any, head: tuple[int, int], data: Data, weights: float, high: float) -> float:
    """The direct path on repeats beside the weights; returns by how many ranks the target rises."""
    scores = analyse(copying_on_data, model, to_torch(data.sample.repeated), progress=True)
    rank, logit = scores["target_rank"], scores["target_logit"]
    value, control = float(rank.score.mean[head]), float(rank.null_mean[head])
    effect = rank.effect
    among = round(2 * rank.uniform) + 1
    ends = "" if effect.low is None else f" [{number(-float(effect.high[head]))}, {number(-float(effect.low[head]))}]"
    text = (
        f"On repeats it puts the induction target at rank {number(value)} of {among} (control {number(control)}): "
        f"{number(control - value)} ranks gained{ends}, direct logit {number(float(logit.score.mean[head]))}."
    )
    gains = effect.high is not None and float(effect.high[head]) < 0
    if gains and control - value > 1 and weights <= high:
        text += " Weights and data disagree: its eigenvalues do not say that it copies, yet it raises its target."
    elif weights > high and control - value < 1:
        text += " Weights and data disagree: it would copy what it looks at, yet it hardly raises the target here."
    st.markdown(text, help=parts.metric_help(rank.kind.definition, rank.kind.unit, rank.kind.null))
    return control - value
