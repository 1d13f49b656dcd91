"""The status line of a page: which model computed the numbers, where, in what precision, how long it took."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypedDict

import streamlit as st

from lens.ui.fields import checkpoint_name

if TYPE_CHECKING:
    import torch
    from plotly.graph_objects import Figure
    from streamlit.delta_generator import DeltaGenerator

    from lens.figures.drawn import Drawn

RUN = "lens:run"


class Opened(Protocol):
    """What the line names: an open model, or what is known of the models of a training run."""

    name: str
    revision: str | None
    device: torch.device | str
    dtype: torch.dtype | str


class Shown(NamedTuple):
    """The figure that is the page's own, with what is said of it."""

    figure: Figure | str = ""  # HTML of a view of tokens or a table; "" where the page has none
    code: str = ""  # the Python that computes its numbers
    notice: str = ""
    sample: str = ""


class Run(TypedDict, total=False):
    """What a run of the page has used so far."""

    slot: DeltaGenerator
    model: str
    revision: str | None
    device: str
    dtype: str
    seconds: float
    cached: bool
    sample: str  # what the last figure was measured on, in words
    notice: str  # the first that stands with the page's own figure
    own: Shown  # the first figure that was given away
    drawn: dict[str, int]  # figures without a key, by what they were drawn from: how often again


def start_run(slot: DeltaGenerator) -> None:
    """Forget what the previous run of the page used; the line stands in ``slot`` from now on."""
    st.session_state[RUN] = {"slot": slot}


def note_time(seconds: float, cached: bool) -> None:
    """Add one computation: ``seconds`` it took when it was done, and whether that was in this run."""
    run = st.session_state.setdefault(RUN, {})
    run["seconds"] = run.get("seconds", 0.0) + seconds
    run["cached"] = run.get("cached", True) and cached
    _draw(run)


def note_model(model: Opened) -> None:
    """The model of this run."""
    dtype = str(model.dtype).removeprefix("torch.")
    run = st.session_state.setdefault(RUN, {})
    run.update(model=model.name, revision=model.revision, device=str(model.device), dtype=dtype)
    _draw(run)


def weights_named() -> tuple[str, ...]:
    """Model with its checkpoint, and number format, of what this run computed with; empty where no model is open."""
    run = st.session_state.get(RUN, {})
    return (_name(run), run["dtype"]) if "model" in run else ()


def note_sample(words: str) -> None:
    """What the figure that was explained last was measured on."""
    st.session_state.setdefault(RUN, {})["sample"] = words


def sample_named() -> str:
    """What the figure that was explained last was measured on, without its full stop; empty where nothing says it."""
    return st.session_state.get(RUN, {}).get("sample", "").rstrip(". ")


def note_notice(words: str) -> None:
    """What is to notice in the figure that was drawn last."""
    run = st.session_state.setdefault(RUN, {})
    if "notice" not in run or "own" not in run:
        run["notice"] = words


def is_first_figure(figure: Figure | str, code: str) -> bool:
    """Whether no figure of this run was given away before: then it is the page's own, alone inside another page."""
    run = st.session_state.setdefault(RUN, {})
    first = "own" not in run
    if first:
        run["own"] = Shown(figure, code, sample=sample_named())
    return first


def key_of_repeated(figure: Drawn) -> str | None:
    """A key of its own for each time after the first that this run draws the very same figure; None the first time.

    A figure that fills may be drawn twice alike, and Streamlit takes two such elements for one.
    """
    drawn = st.session_state.setdefault(RUN, {}).setdefault("drawn", {})
    drawn[figure.digest] = drawn.get(figure.digest, -1) + 1
    return f"again:{figure.digest}:{drawn[figure.digest]}" if drawn[figure.digest] else None


def own_figure() -> Shown:
    """What this run has shown first of all that can be taken away."""
    run = st.session_state.get(RUN, {})
    return run.get("own", Shown())._replace(notice=run.get("notice", ""))


def _name(run: Run) -> str:
    checkpoint = checkpoint_name(run["revision"] or "")
    return run["model"] + (f"@{checkpoint}" if checkpoint else "")


def badge_html(run: Run) -> str:
    """The status line as escaped HTML."""
    if "model" not in run:
        return '<div class="lens-badge" role="status"><span>no model open</span></div>'
    parts = [f"<b>{html.escape(_name(run))}</b>", html.escape(run["device"]), html.escape(run["dtype"])]
    if "seconds" in run:
        parts += [f"{run['seconds']:.2f} s", "cached" if run["cached"] else "live"]
    state = f' data-state="{parts[-1]}"' if "seconds" in run else ""
    spans = "".join(f"<span>{part}</span>" for part in parts)
    return f'<div class="lens-badge" role="status"{state}>{spans}</div>'


def _draw(run: Run) -> None:
    run["slot"].html(badge_html(run))
