"""What is changed in the twin: the choosers, the change they mean, and the Python that makes it again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import streamlit as st

from lens.analysis.answer.generation import (
    CHAPTERS,
    LENGTH,
    Change,
    answer_direction,
    head_direction,
    mean_z,
    steering,
)
from lens.analysis.names import Head
from lens.arrays import as_tensor
from lens.ui import parts
from lens.ui.calls import analyse, is_kept
from lens.ui.estimate import forward_seconds
from lens.ui.pages.predictions import ALONG, CHANGES, UNITS
from lens.ui.pages.predictions.vector import choose_vector
from lens.ui.store import to_torch
from lens.ui.waiting import started
from lens.ui.widgets import number, select, text_line

if TYPE_CHECKING:
    from torch import Tensor

    from lens.hooked import HookedTransformer
    from lens.ui.models import Prompt
    from lens.ui.view import ViewState

ASK = 5.0  # estimated seconds above which the mean of a head waits for a click
CHANGE_HELP = f"""What is done to the twin, at every position of the prompt and of what it writes.

**At their mean:** each head writes what it writes on average over {CHAPTERS} shipped chapters ({LENGTH} tokens each,
first left out), whatever it reads.

**Zeroed:** nothing is written. No run of the model has that: off-distribution.

**Scaled:** what the head writes, times a factor.

**Steered:** a fixed direction is added to the stream that enters one layer."""
FACTOR_HELP = "1 changes nothing, 0 is zeroed, 2 doubles what the heads write."
ALONG_HELP = (
    "**Right minus wrong answer:** the columns of W_U of the two answers above, or of the right one alone. "
    "**A head's mean write:** that of the last pinned head, or of the current one. "
    "**A pasted vector:** numbers of yours, such as a probe or a difference of means."
)
STRENGTH_HELP = "How much of the direction is added, in the unit beside it. Negative: the other way."
UNIT_HELP = """What a strength of 1 adds.

**The stream's length:** a vector as long as the stream itself is there, mean over the prompt, first token left out.

**The direction itself:** the direction as it is, with its own length."""
INTO_HELP = "The layer whose input is changed; later layers see it too."
ANSWER_HELP = "One token, with its leading space if it has one. Its rank and probability stand beside the likeliest."


class Answers(NamedTuple):
    """Ids of the answers that the reader asks for; None without one."""

    right: int | None
    wrong: int | None

    @property
    def ids(self) -> tuple[int, ...]:
        """Those that are there, each once."""
        return tuple(dict.fromkeys(one for one in self if one is not None))


class Changed(NamedTuple):
    """The twin's change, in words and as Python that names it ``change``."""

    change: Change
    words: str
    code: str


def choose_answers(view: ViewState, model: HookedTransformer) -> Answers:
    """Two lines for tokens; what is not one token is left out, with a note."""
    model.needs_tokenizer()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        return Answers(*(_token(view, model, name) for name in ("right", "wrong")))


def _token(view: ViewState, model: HookedTransformer, name: str) -> int | None:
    label = f"{name.capitalize()} answer"
    text = text_line(view, name, label, ANSWER_HELP, width=200, placeholder="such as ' mat'")
    if not text:
        return None
    ids = model.inner_ids(text)
    if len(ids) != 1:
        view.note(f"{text!r} is {len(ids)} tokens; an answer must be one token, so it is left out")
        return None
    return ids[0]


def choose_change(view: ViewState, model: HookedTransformer, prompt: Prompt, answers: Answers) -> Changed | None:
    """The choosers of the change and what they mean; None where nothing is changed, or it waits or lacks something."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        kind = select(
            view, "change", tuple(CHANGES), "Change in the twin", CHANGE_HELP, format_func=CHANGES.get, width=260
        )
        if kind == "scale":
            number(view, "factor", (-10.0, 10.0), "Factor", FACTOR_HELP, width=120, step=0.5)
        if kind == "steer":
            select(view, "along", tuple(ALONG), "Along", ALONG_HELP, format_func=ALONG.get, width=240)
            number(view, "strength", (-10.0, 10.0), "Strength", STRENGTH_HELP, width=120, step=0.25)
            select(view, "unit", tuple(UNITS), "Times", UNIT_HELP, format_func=UNITS.get, width=190)
            last = model.cfg.n_layers - 1
            if view["into"] is None or view["into"] > last:
                view.set(into=model.cfg.n_layers // 2)
            number(view, "into", (0, last), "Into layer", INTO_HELP, width=120)
    if kind == "none":
        return None
    if kind == "steer":
        return _steered(view, model, prompt, answers)
    return _heads(view, model, kind)


def _heads(view: ViewState, model: HookedTransformer, kind: str) -> Changed | None:
    heads = view["pins"] or (_head(view),)
    if not view["pins"]:
        view.note(f"no head is pinned, so head {heads[0]} is changed; its pin button stands on the other pages")
    names, listed = ", ".join(map(str, heads)), f"[{', '.join(f'Head({h.layer}, {h.head})' for h in heads)}]"
    if kind == "mean":
        if not _ready(model, mean_z, heads):
            return None
        means = analyse(mean_z, model, heads, progress=True)
        change = Change(heads, means=tuple(map(tuple, means.tolist())))
        code = f"heads = {listed}\nmeans = tuple(map(tuple, mean_z(model, heads).tolist()))\n"
        code += "change = Change(tuple(heads), means=means)\n"
        return Changed(change, f"{names} at their mean write", code)
    factor = view["factor"] if kind == "scale" else 0.0
    words = f"{names} times {factor:g}" if kind == "scale" else f"{names} zeroed"
    return Changed(Change(heads, factor), words, f"change = Change(tuple({listed}), factor={factor})\n")


def _steered(view: ViewState, model: HookedTransformer, prompt: Prompt, answers: Answers) -> Changed | None:
    direction = _DIRECTIONS[view["along"]](view, model, answers)
    if direction is None:
        return None
    layer, strength, unit = view["into"], view["strength"], view["unit"]
    change = analyse(steering, model, prompt.tokens, direction.values, layer, strength, unit)
    where = f"into layer {layer}, strength {strength:g} times {UNITS[unit].lower()}"
    code = f"{direction.code}change = steering(model, tokens, direction, {layer}, {strength}, {unit!r})\n"
    return Changed(change, f"the stream steered along {direction.words} {where}", code)


class Direction(NamedTuple):
    """What the stream is steered along, in words and as Python that names it ``direction``."""

    values: Tensor  # [d_model]
    words: str
    code: str


def _of_answers(view: ViewState, model: HookedTransformer, answers: Answers) -> Direction | None:
    if answers.right is None or answers.right == answers.wrong:
        parts.not_computed("steering needs a right answer, and a wrong one that differs, above.")
        return None
    code = f"direction = answer_direction(model, {answers.right}, {answers.wrong})\n"
    return Direction(answer_direction(model, answers.right, answers.wrong), "the answers", code)


def _of_head(view: ViewState, model: HookedTransformer, answers: Answers) -> Direction | None:
    head = view["pins"][-1] if view["pins"] else _head(view)
    if not _ready(model, head_direction, head):
        return None
    values = to_torch(analyse(head_direction, model, head, progress=True))
    code = f"direction = head_direction(model, Head({head.layer}, {head.head}))\n"
    return Direction(values, f"head {head}'s mean write", code)


def _pasted(view: ViewState, model: HookedTransformer, answers: Answers) -> Direction | None:
    vector = choose_vector(model.cfg.d_model)
    if vector is None:
        return None
    code = f"import torch\n\ndirection = torch.tensor({vector.tolist()})\n"
    return Direction(as_tensor(vector), "the pasted vector", code)


_DIRECTIONS = {"answers": _of_answers, "head": _of_head, "vector": _pasted}


def _head(view: ViewState) -> Head:
    return view.current() or Head(view["layer"], view["head"])


def _ready(model: HookedTransformer, function: Callable[..., Any], *args: Any) -> bool:
    """Whether the mean over the shipped text is short, asked for or known; else its button is drawn."""
    seconds = forward_seconds(model, CHAPTERS * LENGTH, False)
    sentence = f"The mean of a head is taken over {CHAPTERS} shipped chapters of {LENGTH} tokens."
    done = seconds <= ASK or is_kept(function, model, *args)
    return started(f"{function.__name__}-{model.name}-{args}", seconds, sentence, done)
