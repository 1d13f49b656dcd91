"""The Training dynamics page: which runs are shown, on what they are measured, and the widgets that say so."""

import html
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import streamlit as st

from lens.load.checkpoints import checkpoint_name
from lens.ui import checkpoint_runs
from lens.ui.by_hand import may_watch
from lens.ui.ending import end_page
from lens.ui.fields import LOCAL, short
from lens.ui.limits import limits
from lens.ui.models import prepend_bos
from lens.ui.pages.training_dynamics import AUTO, AXES, EDGES, MOST_BESIDE, MOST_TEXTS
from lens.ui.shared import instrument_list
from lens.ui.shared.wording import capital
from lens.ui.view import ViewState
from lens.ui.widgets import bind, segmented, select, toggle
from lens.ui.widgets import number as number_box

if TYPE_CHECKING:
    from lens.analysis.checkpoint import Setting
    from lens.analysis.dynamics import Places
    from lens.analysis.instruments.instrument import Instrument
    from lens.load.checkpoints import Checkpoints

BESIDE_HELP = "Other training runs to draw on the same axis. Those on this machine are offered."
AXIS_HELP = "The axis of training. Log shows the beginning, linear the proportions; what lies at 0 has no place on log."
CHECKPOINT_HELP = (
    "The checkpoint that all pages open. A click on a point of a curve opens that one; on the curve of a head, it "
    "selects the head too."
)
BORN_HELP = (
    "Threshold of prefix-matching score minus control, above which a head counts as an induction head. It is fixed "
    "before the curves are seen: 0.1 unless you change it. It must lie above the null of all checkpoints."
)
WATCH_HELP = (
    "Looks at the folder every 3 seconds and adds each checkpoint when it is whole. For a training that is under way "
    "on this machine."
)
EDGE_HELP = "Where the shaded phase change begins and ends: by the rule, or the checkpoint you choose."
PLACE_HELP = (
    "Predictions, 0-based with BOS at 0, whose losses are compared: late minus early, each a mean over ± around."
)


SCORE_HELP = (
    "Any number of a head, drawn above the curves; induction and previous token stand there anyway. Tasks are those of "
    "the random repeats. What takes long is measured on a click, and kept."
)


class Choices(NamedTuple):
    """What the widgets say."""

    setting: "Setting"
    places: "Places"
    log: bool
    born: float
    instrument: "Instrument"


def choose_runs(view: ViewState) -> list[str]:
    """The models shown: the view's and those beside it. Without checkpoints the page says so and ends."""
    offered = checkpoint_runs.with_checkpoints()
    why = checkpoint_runs.why_none(view["model"])
    if why:
        _offer_others(view, why, offered)
    gone = [name for name in view["beside"] if name not in offered or name == view["model"]]
    if gone:
        unknown = [short(name) for name in gone if name not in offered]
        if unknown:
            view.note(f"no training run {', '.join(unknown)} is on this machine: left out")
        view.set(beside=tuple(name for name in view["beside"] if name not in gone))
    others = [name for name in offered if name != view["model"]]
    if others:
        seed = bind(view, "beside", list(view["beside"]))
        st.multiselect(
            "Beside it", others, list(view["beside"]), max_selections=MOST_BESIDE, help=BESIDE_HELP, key=seed["key"],
            on_change=_set_beside, args=(view, seed["key"]), format_func=lambda name: name.removeprefix(LOCAL),
            placeholder="none", width=330,
        )  # fmt: skip
    chosen = {view["model"], *view["beside"]}
    return [name for name in dict.fromkeys([*offered, view["model"]]) if name in chosen]  # colours stay with a run


def controls(view: ViewState, saved: "Checkpoints", longest: int) -> Choices:
    """The other widgets; ``saved`` are the checkpoints of the view's model, ``longest`` is the largest n."""
    from lens.analysis.checkpoint import Setting
    from lens.analysis.dynamics import Places

    segmented(view, "axis", tuple(AXES), "Axis", AXIS_HELP, format_func=AXES.get)
    _choose_checkpoint(view, saved)
    instrument = instrument_list.choose(view, "Instrument", SCORE_HELP)
    with st.popover("Settings", help="Thresholds, positions, samples and the phase change by hand."):
        _settings(view, saved, longest)
    setting = Setting(view["n"], view["seqs"], view["seed"], view["texts"], prepend_bos(view))
    places = Places(view["late"], view["early"], view["around"])
    return Choices(setting, places, view["axis"] == "log", view["born"], instrument)


def _offer_others(view: ViewState, why: str, offered: list[str]) -> None:
    with st.container(border=True, key="runs-offer"):
        st.html(f'<div role="status">{html.escape(capital(why))}.</div>')
        if offered:
            st.markdown("Training runs on this machine:")
            with st.container(horizontal=True):
                for name in offered:
                    label, act = name.removeprefix(LOCAL), partial(view.set, model=name, revision=None)
                    st.button(label, key=f"run:{name}", on_click=act, help=f"Show the training of {label}.")
        else:
            st.markdown(
                "There is no training run on this machine yet. Type the path of a folder with checkpoint-… folders "
                "into the Model box, as the Hugging Face Trainer writes them."
            )
    end_page()


def _set_beside(view: ViewState, key: str) -> None:
    view.set(beside=tuple(st.session_state[key]))


def _choose_checkpoint(view: ViewState, saved: "Checkpoints") -> None:
    if view["revision"] and view["revision"] not in saved.places:
        view.note(f"{saved.entry.alias} has no checkpoint {short(view['revision'])}: its final weights are open")
        view.set(revision=None)
    names = {"": "final weights"} | {
        place: f"{index}: {checkpoint_name(saved, index)}" for index, place in enumerate(saved.places)
    }
    select(view, "revision", tuple(names), "Checkpoint", CHECKPOINT_HELP, format_func=names.get, width=190)


def _settings(view: ViewState, saved: "Checkpoints", longest: int) -> None:
    number_box(view, "born", (0.001, 1.0), "Born above", BORN_HELP, step=0.05)
    names = {AUTO: "by the rule"} | {str(i): checkpoint_name(saved, i) for i in range(len(saved))}
    for edge, label in zip(EDGES, ("Phase change from", "to")):
        select(view, edge, tuple(names), label, EDGE_HELP, format_func=names.get)
    with st.container(horizontal=True):
        number_box(view, "late", (0, 4095), "Late token", PLACE_HELP, width=110)
        number_box(view, "early", (0, 4095), "Early token", PLACE_HELP, width=110)
        number_box(view, "around", (0, 100), "± around", PLACE_HELP, width=110)
    with st.container(horizontal=True):
        number_box(view, "n", (2, longest), "n", "Random tokens before they repeat.", width=110)
        number_box(view, "seqs", (1, limits().sequences), "Sequences", "Intervals and verdicts need 16.", width=110)
        number_box(view, "seed", (0, 2**31 - 1), "Seed", "The same seed draws the same tokens.", width=110)
        number_box(view, "texts", (1, MOST_TEXTS), "Chapters", "Of held-out novels. Intervals need 16.", width=110)
    if may_watch(view["model"]):
        toggle(view, "watch", "Watch this folder", WATCH_HELP)
