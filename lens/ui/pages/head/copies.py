"""Third link: the eigenvalues of the head's OV circuit beside its null, and what it writes on data."""

from typing import Any

import numpy as np
import streamlit as st

from lens.analysis.copying_on_data import copying_on_data
from lens.analysis.copying_verdicts import DIFFER, RULE, Side, by_data, differ
from lens.analysis.ov_copying import DRAWS
from lens.figures.eigenvalues import eigenvalues
from lens.figures.fitted import narrow
from lens.figures.theme import number
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.pages.head.chain import Data, Finding
from lens.ui.pages.ov_copying import words as ov_words
from lens.ui.pages.ov_copying.data_words import OnData, more_than_control, verdict
from lens.ui.pages.ov_copying.words import Null
from lens.ui.shared.copying import Copied, copied
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
    gain = _on_data(model, head, data, found)
    state = "found" if found.copies else "none"
    null = [found.low, found.high]
    row = {"copying score": found.score, "copying rank": found.rank, "null": null, "ranks gained on repeats": gain}
    return Finding(f"{number(found.score)}, {found.verdict} its null", state, row)


def _on_data(model: Any, head: tuple[int, int], data: Data, found: Copied) -> float:
    """The direct path on repeats beside the weights; returns by how many ranks the target rises."""
    scores = analyse(copying_on_data, model, to_torch(data.sample.repeated), progress=True)
    rank, logit = scores["target_rank"], scores["target_logit"]
    value, control = float(rank.score.mean[head]), float(rank.null_mean[head])
    among = round(2 * rank.uniform) + 1
    text = (
        f"On repeats it puts the induction target at rank {number(value)} of {among} (control {number(control)}), "
        f"direct logit {number(float(logit.score.mean[head]))}, {more_than_control(logit.effect, head)}."
    )
    side = analyse(by_data, *to_torch((logit.effect, scores.z, scores.written)), "sequences", family=1)
    weights = np.full(side.sign.shape, found.score, np.float32)
    read = OnData(scores, side, analyse(differ, to_torch(weights), to_torch(side)))
    told = verdict(weights, null_of(found, side.sign.shape), read, head, "the induction target")
    text += f" {told or f'No verdict: {side.few}.'}"
    st.markdown(text, help=parts.metric_help(f"{logit.kind.definition} {RULE} {DIFFER}", "logits", logit.kind.null))
    return control - value


def null_of(found: Copied, shape: tuple[int, int]) -> Null:
    """The verdict of this one head, in the form of all heads."""
    sign = np.full(shape, found.sign)
    return Null(None, Side(sign, np.zeros(shape, bool), ""))
