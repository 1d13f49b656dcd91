"""The control strip above every page: model, prompt, beginning-of-text token, pinned heads, link to what is shown."""

import html
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import streamlit as st

from lens.given import sources
from lens.load import catalogue
from lens.load.staged import entries_here
from lens.ui import by_hand, workshop
from lens.ui.components import ASSETS, component
from lens.ui.embed import root_address
from lens.ui.fields import LOCAL, BadValue
from lens.ui.limits import limits
from lens.ui.stage import stage_link
from lens.ui.view import ViewState, say_next_run
from lens.ui.widgets import bind, segmented, text_area

EXAMPLES = (
    ("Who gets the milk (IOI)", "After John and Mary went to the store, Mary gave a bottle of milk to"),
    ("A repeated name", "Mr Dursley was thin and bold. Mr Dursley was proud. Mr Durs"),
    ("Repeated words", "red apple, green pear, blue plum; red apple, green pear, blue plum; red apple, green"),
    ("A fact", "The Eiffel Tower is in the city of Paris. The Colosseum is in the city of"),
    ("Code", "def add(first, second):\n    return first + second\n\ndef sub(first, second):\n    return first -"),
    ("Brackets", "[a, (b, {c: d}), [e, (f, g)], {h: [i, j]}"),
)
MODEL_HELP = (
    "The model under study. Models marked with a size are not on this machine and are fetched only after a click. "
    "Type to search{}; Enter opens the first name that begins so."
)
OPEN_AGAIN_HELP = "Opens the folder or file that was typed under this name since this server started."
PROMPT_HELP = (
    "The text the model reads. Ctrl+Enter, or a click elsewhere, applies it. At most {} characters; a page reads its "
    "first {} tokens, {} where no square map is drawn."
)
BOS_HELP = (
    "The token before the text that marks its beginning. Auto follows the model's own policy. "
    "Compare numbers only under the same setting."
)
PINS_HELP = (
    "Heads kept in view on every page, outlined in orange. A click on a cell of a head grid selects its head, a second "
    "click pins or unpins it. Or type one, like 18.6 (layer.head)."
)


WITH_MODEL_HELP = (
    "A second model, computed as the first is and drawn beside it, with what differs. One that is not on this machine "
    "is offered with its size first. Stays on from page to page."
)
WITH_CHECKPOINT_HELP = "The second model as it was at a point of its training; without a second model, the first one's."
WITH_PROMPT_HELP = "A second text. The second model reads it where there is one, else the first. Empty: the same text."
NO_MODEL = "no second model"


def model_control(view: ViewState) -> None:
    """Choose a catalogue model; at home also a Hub id, a folder or a GGUF file typed by hand."""
    labels = models_offered()
    names = list(labels)
    if view["model"] not in names:
        names = [view["model"], *names]
    also = ", or type a Hub id or the path of a folder or GGUF file" if _may_type() else ""
    st.selectbox(
        "Model",
        names,
        names.index(view["model"]),
        format_func=lambda name: labels.get(name, name.removeprefix(LOCAL)),
        accept_new_options=_may_type(),
        help=MODEL_HELP.format(also),
        **bind(view, "model", write=partial(_choose_model, view)),
    )
    if by_hand.is_closed(view["model"]):
        st.button("Open again", "open-again", OPEN_AGAIN_HELP, by_hand.open_again, (view,), width="stretch")


def prompt_control(view: ViewState) -> None:
    """The prompt box."""
    bounds = limits()
    help = PROMPT_HELP.format(bounds.prompt_chars, bounds.prompt_tokens, bounds.text_tokens)
    text_area(view, "prompt", "Prompt", help, height=116)


def with_model_control(view: ViewState) -> None:
    """Choose a second model, and of one whose training is here, its checkpoint."""
    name, _, revision = view["with_model"].partition("@")
    own = {} if workshop.models() else {name: name.removeprefix(LOCAL) for name in by_hand.opened()}
    labels = {"": NO_MODEL} | models_offered() | own
    names = list(labels) if name in labels else [name, *labels]
    st.selectbox(
        "Compare with",
        names,
        names.index(name),
        format_func=lambda name: labels.get(name, name.removeprefix(LOCAL)),
        accept_new_options=_may_type(),
        help=WITH_MODEL_HELP,
        **bind(view, "with_model", name, partial(_choose_second, view, names)),
    )
    places = _checkpoints(name or view["model"])
    if not places and not revision:
        return
    last = "final weights" if name else "choose one"
    places = {"": last, **({revision: revision} if revision else {}), **places}
    key = f"view:with_revision:{name}:{revision}"
    st.selectbox(
        "at checkpoint",
        list(places),
        list(places).index(revision),
        key=key,
        format_func=places.get,
        help=WITH_CHECKPOINT_HELP,
        on_change=_choose_checkpoint,
        args=(view, name, key),
    )


def with_prompt_control(view: ViewState) -> None:
    """The box for a second prompt."""
    text_area(view, "with_prompt", "Compare with prompt", WITH_PROMPT_HELP, height=82)


def example_control(view: ViewState) -> None:
    """A menu of example prompts."""
    with st.popover("Examples", help="Prompts to start from; choosing one replaces the prompt.", width="stretch"):
        for number, (name, prompt) in enumerate(EXAMPLES):
            act = {"on_click": view.set, "kwargs": {"prompt": prompt}}
            st.button(name, f"example:{number}", help=prompt, type="tertiary", **act)


def bos_control(view: ViewState) -> None:
    """The switch for the token before the text."""
    segmented(view, "bos", ("auto", "on", "off"), "BOS token", BOS_HELP, width="stretch")


def pins_control(view: ViewState) -> None:
    """The pinned heads: chips that can be removed one by one or all at once, and typed."""
    names = [f"{layer}.{head}" for layer, head in view["pins"]]
    st.multiselect(
        "Pinned heads",
        names,
        names,
        accept_new_options=True,
        max_selections=limits().pins,
        placeholder="none, type 18.6",
        help=PINS_HELP,
        **bind(view, "pins", names, partial(_set_pins, view)),
    )


def link_control(view: ViewState) -> None:
    """A button that copies the complete address (shows it where there is no clipboard), and the way to the stage."""
    button = component("copy_link", (ASSETS / "copy_link.html").read_text())
    button(data={"url": view.link(root_address(view))}, key="copy_link", height="content")
    st.html(f'<p class="lens-to-stage"><a class="lens-go" href="{html.escape(stage_link(view))}">On stage</a></p>')


def models_offered() -> dict[str, str]:
    """What may be chosen, by alias, as the list writes it; in a workshop, its models."""
    given = {LOCAL + name: name for name in sources()}
    trained = {entry.alias: entry.alias for entry in entries_here()}
    every, own = given | dict(_offered()) | trained, workshop.models()
    return {name: every.get(name, name) for name in own} if own else every


def _may_type() -> bool:
    return not limits().hosted and not workshop.models()


@st.cache_data(ttl=20, max_entries=1, show_spinner=False)
def _offered() -> list[tuple[str, str]]:
    """(alias, label) of every model that may be chosen: those on this machine first."""
    rows = []
    for entry in catalogue.entries():
        local = catalogue.is_local(entry.alias)
        if (entry.n_params or 0) <= limits().max_params:
            size = f"{entry.download_bytes / 1e6:,.0f} MB" if entry.download_bytes else "to fetch"
            rows.append((not local, entry.alias, entry.alias if local else f"{entry.alias} · {size}"))
    return [(alias, label) for _, alias, label in sorted(rows, key=lambda row: row[0])]


def begun(typed: str, names: Sequence[str]) -> str:
    """The first of ``names`` that begins with what was typed, which Enter then opens; itself where none does."""
    start = typed.strip().lower()
    matching = [name for name in names if start and name.lower().startswith(start)]
    return typed if typed in names or not matching else matching[0]


def _choose_model(view: ViewState, key: str) -> None:
    typed = st.session_state[key]
    if not typed or typed == view["model"]:
        return
    path, names = Path(typed).expanduser().resolve(), list(models_offered())
    is_path = typed not in names and _may_type() and path.exists()
    name = by_hand.local_name(path) if is_path else begun(typed, names)
    try:
        view.set(model=name, revision=None, layer=None, head=None, query=None)
    except BadValue as bad:
        say_next_run(str(bad))
        return
    if is_path:
        by_hand.remember(name, path)


def _choose_second(view: ViewState, names: Sequence[str], key: str) -> None:
    typed = st.session_state[key]
    try:
        view.set(with_model=begun(typed, names) if typed else None)
    except BadValue as bad:
        say_next_run(str(bad))


def _choose_checkpoint(view: ViewState, name: str, key: str) -> None:
    revision = st.session_state[key]
    view.set(with_model=f"{name or view['model']}@{revision}" if revision else name or None)


@st.cache_data(max_entries=64, show_spinner=False)
def _checkpoints(name: str) -> dict[str, str]:
    """The checkpoints of a model that come with Lens, in words; none for any other."""
    from lens.load.checkpoints import checkpoint_name, checkpoints

    entry = next((entry for entry in (*catalogue.entries(), *entries_here()) if name in entry.names), None)
    if entry is None or not entry.shipped or not entry.checkpoints:
        return {}
    run = checkpoints(entry)
    return {place: checkpoint_name(run, index) for index, place in enumerate(run.places)}


def _set_pins(view: ViewState, key: str) -> None:
    field = view.field("pins")
    try:
        pins = field.read(",".join(st.session_state[key]))
    except BadValue as bad:
        pins = bad.use
        say_next_run(str(bad))
    added = [pin for pin in pins if pin not in view["pins"]]
    view.set(pins=pins)
    if added:
        view.select(*added[-1])
