"""The section of a page where a second model, checkpoint or prompt stands beside the first.

    def loss_of(view, model):
        prompt = read_prompt(view, model)
        return prompt, analyse(token_losses, model, prompt.tokens)

    def pairs_of(sides, first, second):
        (prompt, losses), (other, others) = first, second
        quantity = pairs.Quantity("loss", "nats", DEFINITION, "values = token_losses(model, tokens)[0]")
        along = pairs.text("position", sides.models, (prompt, other))
        return [pairs.tokens(quantity, losses, others, along)]

    def draw(view):
        ...
        beside = st.container()  # where the section stands: below the picture
        ...  # the rest of the page
        compare(view, model, beside, loss_of(view, model), loss_of, pairs_of)

Called last, so that what fails on the second side spoils nothing. Other kinds of result: ``pairs.heads`` [layer, head],
``pairs.edges`` [layer, head, later layer, head], ``pairs.table`` [row, column], ``pairs.names`` (bars) and
``pairs.listed`` (numbers of different units). Each pair has a name of its own, of which its files are named.
For the second side ``numbers_of`` gets a view of its own: the same values but for model, revision and prompt, so that
``read_prompt(view, model)`` and the like read the right text. What is set or noted there stays there. It must draw no
widget bound to the view: the first side has drawn it. ``end_page`` in it ends the section, not the page.

A page that compares says so in its ``PAGE`` (``compares=True``), which puts the controls into the frame.
"""

from __future__ import annotations

import hashlib
import html
from collections.abc import Callable, Sequence
from functools import partial
from textwrap import indent
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import streamlit as st

from lens.analysis.counts import size
from lens.figures.theme import shorten
from lens.ui import parts
from lens.ui.ending import part_of_page
from lens.ui.explanation import Explanation, explain
from lens.ui.export import Export, export, opening
from lens.ui.limits import limits
from lens.ui.memory import residents
from lens.ui.models import expected_bytes, model_key, open_beside, source_of
from lens.ui.residents import weight_bytes
from lens.ui.shared.compare import words
from lens.ui.shared.compare.asked import called, is_asked, stop_button
from lens.ui.shared.compare.draw import draw_pair
from lens.ui.waiting import started

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from lens.hooked import HookedTransformer
    from lens.ui.shared.compare.pairs import Pair
    from lens.ui.view import ViewState

Numbers = TypeVar("Numbers")
QUOTED = 80  # characters of a second prompt in the title


class Sides(NamedTuple):
    """What is compared: the page's own first, the other second."""

    views: tuple[ViewState, ViewState]
    models: tuple[HookedTransformer, HookedTransformer]
    names: tuple[str, str]
    reads_prompt: bool

    @property
    def same_model(self) -> bool:
        """Whether both are the same weights."""
        return model_key(self.models[0]) == model_key(self.models[1])

    @property
    def same_run(self) -> bool:
        """Whether both are one model, perhaps at two times of its training: then their heads are the same heads."""
        return self.models[0].name == self.models[1].name

    @property
    def same_shape(self) -> bool:
        """Whether both have as many layers and heads."""
        first, second = (model.cfg for model in self.models)
        return (first.n_layers, first.n_heads) == (second.n_layers, second.n_heads)

    @property
    def same_prompt(self) -> bool:
        """Whether both read the same text, or none."""
        return not self.reads_prompt or self.views[0]["prompt"] == self.views[1]["prompt"]


def compare(
    view: ViewState,
    model: HookedTransformer,
    place: DeltaGenerator,
    first: Numbers,
    numbers: Callable[[ViewState, HookedTransformer], Numbers],
    pairs: Callable[[Sides, Numbers, Numbers], Sequence[Pair]],
    *,
    reads_prompt: bool = True,
    seconds: Callable[[ViewState, HookedTransformer], float] | None = None,
    key: str = "compare",
) -> None:
    """The section, in ``place``; nothing where nothing is asked for. ``first``: the numbers of the page's own side.

    ``reads_prompt``: whether the numbers are of the prompt; a second prompt is left out where they are not.
    ``seconds``: a rough time of ``numbers`` for the second side; long work waits for a click. Not needed where
    ``numbers`` asks by itself. ``key``: of its own for each section of a page that has several.
    """
    if not is_asked(view):
        return
    with place, st.container(border=True, key=key), part_of_page():
        _draw_title(view, key)
        if view["with_prompt"].strip() and not reads_prompt:
            parts.aside("Second prompt", words.NOT_READ)
        if not is_asked(view, reads_prompt):
            return
        sides = open_sides(view, model, reads_prompt)
        if sides is None:
            return
        if sides.same_model and sides.same_prompt:
            st.info(words.SAME, icon=":material/equal:")
            return
        if seconds is not None and not _may_start(sides, key, seconds(sides.views[1], sides.models[1])):
            return
        with st.container():  # keeps what follows in its place, whether or not a progress bar was drawn
            second = numbers(sides.views[1], sides.models[1])
        for number, pair in enumerate(pairs(sides, first, second)):
            draw(sides, pair, f"{key}:{number}")


def open_sides(view: ViewState, model: HookedTransformer, reads_prompt: bool) -> Sides | None:
    """Both sides, the second model open; None, with a sentence, where memory does not hold both."""
    name, _, revision = view["with_model"].partition("@")
    prompt = view["with_prompt"] if reads_prompt and view["with_prompt"].strip() else view["prompt"]
    other = {"model": name, "revision": revision} if name else {}
    views = (view, view.twin(prompt=prompt, **other))
    second = model
    if name:
        both, budget = weight_bytes(model) + expected_bytes(source_of(views[1])), residents().budget
        if both > budget:
            parts.not_computed(
                f"both models take {size(both)}, and {size(budget)} are for models: each would be loaded again at "
                "every click. Set LENS_MODEL_MEMORY to change that."
            )
            return None
        second = open_beside(views[1])
    names = tuple(called(f"{of['model']}@{of['revision']}".removesuffix("@")) for of in views)
    if names[0] == names[1]:
        names = ("the first prompt", "the second prompt")
    return Sides(views, (model, second), names, reads_prompt)


def draw(sides: Sides, pair: Pair, key: str) -> None:
    """One pair: the pictures, what is said of them, and what can be taken away."""
    view, names = sides.views[0], sides.names
    figure = draw_pair(view, pair, names, key)
    explain(view, None, explanation(sides, pair))
    payload = {"number": pair.quantity._asdict(), "names": names, "views": [of.values() for of in sides.views]}
    payload |= {"axes": {axis.name: list(axis.labels) for axis in pair.axes}, "difference": pair.numbers.difference}
    payload |= pair.numbers._asdict() | {"left_out": words.left_out(pair, names), "note": pair.note}
    stem = f"compared_{pair.quantity.name}".replace(" ", "_")
    export(view, Export(stem, figure, partial(pair.frame), payload, code(sides, pair), opens_model=False))


def explanation(sides: Sides, pair: Pair) -> Explanation:
    """What is said of a pair."""
    names, two = sides.names, zip(sides.views, sides.models)
    apart = pair.by_number and not sides.same_run
    of_models = () if sides.same_model else (words.TWO_TIMES if sides.same_run else words.TWO_MODELS,)
    of_texts = () if sides.same_prompt else (words.TWO_TEXTS,)
    hows = dict.fromkeys(axis.how for axis in pair.axes)
    noted = " ".join(f"{note[:1].upper()}{note[1:]}." for note in sides.views[1].notes)
    return Explanation(
        words.notice(pair, names),
        " ".join([*of_models, *of_texts]),
        asides=(
            ("Compared", " ".join(filter(None, [pair.quantity.definition, pair.aside, *hows]))),
            ("Left out", words.left_out(pair, names)),
            ("Heads", words.SAME_RUN_ONLY if apart else ""),
            ("The second", noted),
        ),
        measured=(
            ("Interval", f"{pair.note[:1].upper()}{pair.note[1:]}".rstrip(".") + "."),
            *((f"Model {place}", parts.model_words(*of)) for place, of in enumerate(two, 1)),
        ),
    )


def code(sides: Sides, pair: Pair) -> str:
    """A program that computes both, matches them, and prints where they differ most; of a list every number."""
    axes = ", ".join(axis.code for axis in pair.axes)
    names = ("first_", "second_")
    opened = "".join(opening(of, sides.reads_prompt, name) for of, name in zip(sides.views, names))
    tokens = [f"{name}tokens" if sides.reads_prompt else "None" for name in names]
    own = pair.quantity.second_code not in ("", pair.quantity.code)
    functions = ("values_of_first", "values_of_second") if own else ("values_of", "values_of")
    defined = dict(zip(functions, (pair.quantity.code, pair.quantity.second_code if own else pair.quantity.code)))
    written = "".join(
        f"def {name}(model, tokens):\n{indent(body.strip(), '    ')}\n    return values\n\n\n"
        for name, body in defined.items()
    )
    calls = (f"{call}({of}model, {read})" for call, of, read in zip(functions, names, tokens))
    own_units = pair.kind == "list"
    always = ("aligned",) if own_units else ("aligned", "largest")
    tools = [name for name in TOOLS if f"{name}(" in axes + pair.prepare or name in always]
    printed = EVERY.format(pair.axes[0].labels) if own_units else LARGEST
    return (
        f"from lens import HookedTransformer\nfrom lens.analysis.compare import {', '.join(tools)}\n{pair.given}\n\n"
        f"{written}{opened}first, second = {', '.join(calls)}\n{pair.prepare}"
        f"numbers = aligned(first, second, [{axes}])\n{printed}{pair.finish}"
    )


LARGEST = (
    "cell = largest(numbers.difference)\n"
    "print(cell, *(() if cell is None else (of[cell] for of in (*numbers, numbers.difference))))\n"
)
EVERY = "for row in zip({}, *numbers, numbers.difference):\n    print(*row)\n"
TOOLS = (
    "aligned", "alike", "between_layers", "by_depth", "by_name", "by_text", "largest", "layer_depths", "per_layer",
    "token_pieces",
)  # fmt: skip


def _draw_title(view: ViewState, key: str) -> None:
    model = f"<b>{html.escape(called(view['with_model']))}</b>" if view["with_model"] else ""
    words_of = shorten(" ".join(view["with_prompt"].split()), QUOTED)
    prompt = f"<q>{html.escape(words_of)}</q>" if words_of else ""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.html(f'<h3 class="lens-beside">Beside {" and ".join(filter(None, [model, prompt]))}</h3>')
        stop_button(view, key)


def _may_start(sides: Sides, key: str, seconds: float) -> bool:
    which: tuple[Any, ...] = (key, sides.views[1].path, model_key(sides.models[1]), sides.views[1]["prompt"])
    asked = f"compare-{hashlib.blake2b(repr(which).encode(), digest_size=8).hexdigest()}"
    quick = seconds <= limits().ask_before
    return quick or started(asked, seconds, "The second model's numbers are not computed yet.")
