"""The lens of another model or checkpoint, or on another prompt: rows by relative depth, positions by their text."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from lens.analysis.compare import log_rank
from lens.figures.theme import number as written
from lens.ui import parts
from lens.ui.ending import end_page
from lens.ui.models import read_prompt
from lens.ui.pages.logit_lens import COLUMNS, LONGEST, NUMBERS
from lens.ui.pages.logit_lens.fit import ready
from lens.ui.pages.logit_lens.reading import read_text
from lens.ui.pages.logit_lens.table import OF
from lens.ui.shared.compare import pairs
from lens.ui.shared.compare.per_token import RANKS
from lens.ui.shared.compare.section import compare

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from lens.hooked import HookedTransformer
    from lens.ui.pages.logit_lens.controls import Chosen
    from lens.ui.pages.logit_lens.reading import Lens
    from lens.ui.shared.compare.pairs import Pair
    from lens.ui.shared.compare.section import Sides
    from lens.ui.view import ViewState

UNITS = {"logprob": "nats", "rank": "log₁₀ of the rank from 1", "entropy": "nats", "kl": "nats"}
VALUES = {
    "prob": "lens.logprob.exp()",
    "logprob": "lens.logprob",
    "rank": "log_rank(lens.rank)",
    "top": "lens.top_logprob.exp()",
    "entropy": "lens.entropy",
    "kl": "lens.kl",
}
OWN = "Each model's row is held against {} of its own."


def draw(view: ViewState, model: HookedTransformer, place: DeltaGenerator, lens: Lens) -> None:
    """The section."""
    compare(view, model, place, lens, partial(_lens, lens.chosen), partial(_pairs, view["number"]))


def _lens(chosen: Chosen, view: ViewState, model: HookedTransformer) -> Lens:
    """The lens of the second side; the section ends where there is none, or it waits for a click."""
    if chosen.source == "mlp" and model.cfg.attn_only:
        parts.not_computed(f"{model.name} has no MLP.")
        end_page()
    prompt = read_prompt(view, model, LONGEST)
    if chosen.fitted and not ready(model):
        end_page()
    lens = read_text(model, prompt, chosen)
    if lens is None:
        end_page()
    return lens


def _pairs(number: str, sides: Sides, *both: Lens) -> list[Pair]:
    of = OF[both[0].chosen.about]
    held = "" if number in ("top", "entropy", "kl") else OWN.format(of)
    name = {"top": "probability of its own top token", "kl": "KL to the output"}.get(number, NUMBERS[number].lower())
    name += f" of {of}" if held else ""
    quantity = pairs.Quantity(name, UNITS.get(number, "probability"), held, _code(both[0], number))
    depths = [[_depth(lens, place) for place in range(len(lens.rows))] for lens in both]
    rows = pairs.rows("layer", [[row.label for row in lens.rows] for lens in both], depths)
    columns = pairs.text("position", sides.models, [lens.prompt for lens in both], COLUMNS)
    notes = tuple([_words(lens, row) for row in range(len(lens.rows))] for lens in both)
    return [pairs.table(quantity, *(values(lens, number) for lens in both), rows, columns, notes=notes, upwards=True)]


def values(lens: Lens, number: str) -> np.ndarray:
    """The chosen number [row, pos], as it is compared: ranks by their logarithm."""
    found = lens.found
    if number == "rank":
        return log_rank(found.rank)
    if number in ("entropy", "kl", "logprob"):
        return getattr(found, number)
    return np.exp(found.top_logprob if number == "top" else found.logprob)


def _depth(lens: Lens, place: int) -> float:
    """Of a row, 0 the embedding … 1 the output; of what a layer writes, its middle."""
    row = lens.rows[place]
    if lens.chosen.source != "stream":
        return (row.layer + 0.5) / len(lens.rows)
    return (row.layer + 1 - 0.5 * row.mid) / (lens.rows[-1].layer + 1)


def _words(lens: Lens, row: int) -> list[str]:
    """What is on top in each cell of a row."""
    probs = np.exp(lens.found.top_logprob[row])
    return [f"{word} {written(float(prob))}" for word, prob in zip(lens.words[row], probs)]


def _code(lens: Lens, number: str) -> str:
    chosen = lens.chosen
    target = "None" if chosen.about == "final" else "tokens.roll(-1, 1)"
    last = "" if chosen.about == "final" else "target[:, -1] = -1  # nothing follows the last token\n"
    how = f"source={chosen.source!r}, mid={chosen.mid}, fitted={chosen.fitted}"
    return (
        f"from lens.analysis.answer.logit_lens import logit_lens\n{RANKS if number == 'rank' else ''}\n"
        f"target = {target}\n{last}lens = logit_lens(model, tokens, target, {how})\nvalues = {VALUES[number]}[:, 0]"
    )
