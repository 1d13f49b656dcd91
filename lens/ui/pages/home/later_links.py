"""The later links of the chain on Home, filled in after its first charts: copies, matters, was born.

Each computes what takes a moment and offers the rest as a button, and says what was found and what was not.
"""

from typing import Any

import streamlit as st

from lens.figures.theme import number
from lens.ui import runs
from lens.ui.ending import PageOver
from lens.ui.estimate import forward_seconds, operation_seconds
from lens.ui.models import model_key, source_of
from lens.ui.pages.ablation.read import filled
from lens.ui.pages.home import start as home
from lens.ui.pages.home.first_links import Shown
from lens.ui.shared.birth import birth
from lens.ui.shared.copying import copied
from lens.ui.shared.removal import removal, removal_of, signed, state, told
from lens.ui.store import to_torch
from lens.ui.view import ViewState
from lens.ui.waiting import started

NOT_YET = home.Found("not computed yet", "later")


def show_links(view: ViewState, model: Any, shown: Shown, outline: Any, places: tuple[Any, ...]) -> None:
    """Fill the places one after the other, and the outline with each."""
    found = dict(shown.found)
    for (name, _), place, link in zip(home.LATER, places, (copies, matters, born), strict=True):
        with place.container():
            try:
                found[name] = link(view, model, shown)
            except PageOver:  # cancelled, and offered again in its place: the other links do not depend on it
                found[name] = NOT_YET
            home.open_page(view, name, shown.head)
        home.chain(outline, found)


def copies(view: ViewState, model: Any, shown: Shown) -> home.Found:
    """The copying score of the head's OV weights against random rotations of them."""
    through_vocabulary = 2 * model.cfg.d_vocab * model.cfg.d_model**2
    if not _started(model, shown.head, "copies", operation_seconds(model, through_vocabulary)):
        return NOT_YET
    found = copied(model, shown.head, view["seed"])
    if found is None:
        st.markdown("It writes nothing: all eigenvalues of its OV circuit are 0.")
        return home.Found("writes nothing", "none")
    st.markdown(f"{found.told} {_COPIES[found.sign]}")
    return home.Found(f"{number(found.score)}, {found.verdict} its null", "found" if found.copies else "none")


_COPIES = {
    1: "By its weights, it raises the token it looks at.",
    0: "By its weights, it cannot be said to copy.",
    -1: "By its weights, it lowers the token it looks at.",
}


def matters(view: ViewState, model: Any, shown: Shown) -> home.Found:
    """What the second copy costs when the head writes what it wrote in the control, where nothing repeats."""
    cells, experiment = removal_of(model.cfg, to_torch(shown.sample.repeated), shown.head, view["seed"])
    n_pairs, n_pos = len(experiment.pairs), experiment.pairs.n_pos
    read = 2 * n_pairs * n_pos + len(cells.sets) * n_pairs * n_pos // 2
    if not _started(model, shown.head, "matters", forward_seconds(model, read)):
        return NOT_YET
    result, complete = filled(model, experiment, agreed=True)
    if not complete:
        return NOT_YET
    found = removal(model, to_torch(shown.sample.repeated), result, view["seed"])
    st.markdown(told(found))
    return home.Found(f"{signed(found.change)} nats without it", state(found))


def born(view: ViewState, model: Any, shown: Shown) -> home.Found:
    """Between which checkpoints the head became an induction head."""
    if not runs.why_none(view["model"]):
        settings = shown.sample.settings
        n_tokens = 2 * settings.seqs * (2 * settings.n + 1)
        n_checkpoints = len(runs.chosen(runs.run_of(source_of(view))))
        if not _started(model, shown.head, "born", n_checkpoints * forward_seconds(model, n_tokens)):
            return NOT_YET
    found = birth(view, view["model"], shown.head)
    if found.state == "found":
        st.markdown(f"{found.words} What chance reaches stays below that at every checkpoint.")
        return home.Found(found.interval, "found")
    st.markdown(found.words)
    if found.state == "later":
        return home.Found("not computed", "later")
    if found.state == "unknown":
        return home.Found("cannot be said", "")
    return home.Found("not as an induction head", "none")


def _started(model: Any, head: tuple[int, int], name: str, seconds: float) -> bool:
    key = f"{name}-{model_key(model)}-{head[0]}.{head[1]}"
    return started(key, seconds, f"Not computed because it takes about {seconds:,.0f} s with this model.")
