"""A run that still trains: its folder is looked at every few seconds, and the page adds what is new."""

import html
import time
from pathlib import Path

import streamlit as st

from lens.analysis.counts import counted
from lens.load.arriving import Arrived, arrived
from lens.ui import parts
from lens.ui.by_hand import may_watch
from lens.ui.checkpoint_runs import seen
from lens.ui.fields import LOCAL, short
from lens.ui.models import source_of
from lens.ui.view import ViewState

EVERY = 3.0  # seconds between two looks
WAITING = "No whole checkpoint is here yet. The page goes on by itself when the first has come."


def watch(view: ViewState) -> None:
    """The line that says what has come, looked at again while the page is open; the page ends while that is nothing."""
    if not view["watch"]:
        return
    if not may_watch(view["model"]):
        view.note(f"{short(view['model'].removeprefix(LOCAL))} is no folder opened on this machine: it is not watched")
        view.set(watch=None)
        return
    source, name = source_of(view), view["model"].removeprefix(LOCAL)
    drawn = arrived(Path(source)).whole
    seen()[source] = drawn

    @st.fragment(run_every=EVERY)
    def look() -> None:
        now = arrived(Path(source))
        if now.whole != drawn:
            st.rerun(scope="app")
        st.html(f'<div class="lens-line misreading" role="status"><b>Watching</b><span>{html.escape(words(name, now))}'
                "</span></div>")  # fmt: skip

    look()
    if not drawn:
        parts.empty_state(WAITING)


def words(name: str, now: Arrived) -> str:
    """How many checkpoints there are, when the last one came, and what is not whole yet."""
    text = f"{name}: {counted(len(now.whole), 'checkpoint')}"
    if now.newest is not None:
        when = time.strftime("%H:%M:%S", time.localtime(now.newest.when))
        text += f", the last, {now.newest.name}, came at {when}"
    if now.unfinished:
        text += f". Not whole yet, so left out: {', '.join(now.unfinished)}"
    return f"{text}. Looked at {time.strftime('%H:%M:%S')}, every {EVERY:.0f} s."
