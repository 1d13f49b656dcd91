"""Last link: between which checkpoints of the training the head became an induction head."""

from typing import Any

import streamlit as st

from lens.ui import parts, runs
from lens.ui.estimate import forward_seconds
from lens.ui.models import source_of
from lens.ui.pages.head.chain import Data, Finding
from lens.ui.shared.birth import birth
from lens.ui.view import ViewState
from lens.ui.waiting import started


def show(view: ViewState, model: Any, head: tuple[int, int], data: Data) -> Finding:
    """The interval in which its score crossed the line, or why there is none."""
    if not runs.why_none(view["model"]) and not _started(view, model, data):
        return Finding("not computed yet", "later")
    found = birth(view, view["model"], head)
    if found.result is None:
        parts.not_computed(f"{found.reason.removeprefix('not computed because ')}.")
        return Finding("not computed", "later")
    st.markdown(found.words)
    if found.state == "unknown":
        return Finding("cannot be said", "", {"born": found.reason})
    if found.state == "none":
        return Finding("not as an induction head", "none", {"born": found.reason})
    st.caption("What chance reaches stays below that at every checkpoint. Training dynamics shows the curve.")
    return Finding(found.interval, "found", {"born": found.interval})


def _started(view: ViewState, model: Any, data: Data) -> bool:
    settings = data.sample.settings
    n_checkpoints = len(runs.chosen(runs.run_of(source_of(view))))
    estimate = n_checkpoints * forward_seconds(model, 2 * settings.seqs * (2 * settings.n + 1))
    return started(f"born-{view['model']}", estimate, f"{n_checkpoints} checkpoints are not read yet.")
