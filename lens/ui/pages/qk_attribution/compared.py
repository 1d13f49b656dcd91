"""Why the same head of another model or checkpoint looks there, or on another prompt at the same text."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from lens.analysis.answer.qk_attribution import layer_shares
from lens.analysis.attention import head_patterns
from lens.analysis.compare import by_text, layer_depths, paired_difference, token_pieces
from lens.analysis.largest_head import largest_head
from lens.analysis.names import Head
from lens.analysis.stats import estimate
from lens.arrays import as_tensor
from lens.figures.theme import number
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.ending import end_page
from lens.ui.pages.qk_attribution.draw import reasons_code
from lens.ui.pages.qk_attribution.request import Request, compute, prompt_of
from lens.ui.shared import reasons, repeats
from lens.ui.shared.compare import pairs
from lens.ui.shared.compare.section import compare
from lens.ui.shared.reasons import SCORE, SIDES, write_label
from lens.ui.shared.wording import interval

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from lens.analysis.answer.qk_attribution import QKAttribution
    from lens.analysis.stats import Estimate
    from lens.hooked import HookedTransformer
    from lens.ui.shared.compare.pairs import Pair
    from lens.ui.shared.compare.section import Sides
    from lens.ui.shared.reasons import Answer
    from lens.ui.view import ViewState

DEFINITION = (
    "Each write's share of the contrast, in nats before the softmax, read by the head's {}; the control is not "
    "subtracted."
)
BY_LAYER = (
    "Heads of models of different shape have no counterpart: {} of {} stands beside {} of {}, {}, and what each layer "
    "wrote is summed."
)
CHOSEN = {"stripe": "its strongest induction head", "cell": "the head that looks from there to there most"}
NO_CELL = "query and key of the cell are not both in the second text, cut in the same way, after its first token."
CHOSEN_HERE = "no interval of the difference: the second head was chosen by what it does on these tokens"
OTHER_TOKENS = "no interval of the difference: the two read different tokens"

NAMED = {"q": "query", "k": "key"}
IMPORT = "from lens.analysis.answer.qk_attribution import layer_shares\n"


class Why(NamedTuple):
    """A head and where it looks, and why it does."""

    asked: Request
    answer: Answer

    @property
    def text(self) -> QKAttribution:
        """The contrast as a sum over writes."""
        return self.answer.reasons.text


def draw(view: ViewState, place: DeltaGenerator, asked: Request, of: Answer) -> None:
    """The section."""
    of_prompt = asked.prompt is not None
    compare(view, asked.model, place, Why(asked, of), partial(_why, asked), _pairs, reads_prompt=of_prompt)


def _why(first: Request, view: ViewState, model: HookedTransformer) -> Why:
    """The same of the second side. Long work asks first by itself."""
    if why := reasons.why_not(model):
        parts.not_computed(why)
        end_page()
    sample = repeats.sample(model, repeats.settings(view, model))
    asked = Request(model, first.head, sample, None)
    if first.prompt is not None:
        asked = _same_cell(first, asked._replace(prompt=prompt_of(view, model)))
    asked = asked._replace(head=_counterpart(first, asked))
    answer = compute(view, asked)
    if answer is None:
        end_page()
    return Why(asked, answer)


def _same_cell(first: Request, asked: Request) -> Request:
    """Query and key that cover the same text; the section ends where there are none."""
    pieces = [token_pieces(of.model, of.prompt.tokens[0]) for of in (first, asked)]
    match = by_text(*pieces)
    query, key = (match.counterpart(place) or 0 for place in (first.query, first.key))
    if not 0 < key <= query or query < 2:
        parts.not_computed(NO_CELL)
        end_page()
    return asked._replace(query=query, key=key)


def _counterpart(first: Request, asked: Request) -> Head:
    """The head of the same number; in a model of another shape the one that does most what is asked about."""
    cfg = asked.model.cfg
    if (cfg.n_layers, cfg.n_heads) == (first.model.cfg.n_layers, first.model.cfg.n_heads):
        return first.head
    if asked.prompt is None:
        return largest_head(asked.sample.scores[SCORE].score.mean)
    every = [Head(*place) for place in np.ndindex(cfg.n_layers, cfg.n_heads)]
    pattern = analyse(head_patterns, asked.model, asked.prompt.tokens, every).pattern[0]
    return every[int(pattern[:, asked.query, asked.key].argmax())]


def _pairs(sides: Sides, *both: Why) -> list[Pair]:
    """Keys, then queries; with the first what the contrast itself is."""
    sampled = sides.same_shape and _are_paired(both)
    keys, queries = (_by_name(both, sampled, of) if sides.same_shape else _by_layer(sides, both, of) for of in "kq")
    contrast = _contrast(sides, both, sampled)
    return [keys._replace(aside=" ".join(filter(None, [contrast, keys.aside]))), queries]


def _are_paired(both: tuple[Why, ...]) -> bool:
    """Whether both read the same random sequences."""
    if any(of.asked.prompt is not None for of in both):
        return False
    return np.array_equal(*(of.asked.sample.repeated.tokens for of in both))


def _by_name(both: tuple[Why, ...], sampled: bool, side: str) -> Pair:
    means = (_samples(of, side).mean(0).tolist() for of in both)
    each = (dict(zip(map(write_label, of.text.writes), values)) for of, values in zip(both, means))
    same = sampled and both[0].text.writes == both[1].text.writes
    difference = analyse(paired_difference, *(_samples(of, side) for of in both)) if same else None
    note = difference.note if same else OTHER_TOKENS if both[0].asked.prompt is None else pairs.ONE_TEXT
    codes = (f"{_code(of)}values = reasons.text.{NAMED[side]}_side.mean(0)" for of in both)
    return pairs.names(_quantity(side, *codes), *each, note=note, estimate=difference, by_number=True)


def _by_layer(sides: Sides, both: tuple[Why, ...], side: str) -> Pair:
    sums = [layer_shares(of.text, side) for of in both]
    depths = [_depths(of) for of in both]
    along = pairs.rows("part", [list(of) for of in sums], depths)
    codes = (f'{IMPORT}{_code(of)}values = list(layer_shares(reasons.text, "{side}").values())' for of in both)
    numbers = (np.array(list(of.values())) for of in sums)
    pair = pairs.bars(_quantity(side, *codes), *numbers, along, note=CHOSEN_HERE)
    heads = [name for of, model in zip(both, sides.names) for name in (f"head {of.asked.head}", model)]
    chosen = CHOSEN["stripe" if both[0].asked.prompt is None else "cell"]
    return pair._replace(aside=BY_LAYER.format(*heads, chosen))


def _depths(of: Why) -> list[float]:
    """Of biases, before all else; of the embedding, 0; and of each layer before the head."""
    return [-1.0, 0.0, *layer_depths(of.asked.model.cfg.n_layers)[: of.asked.head.layer].tolist()]


def _code(of: Why) -> str:
    return reasons_code(of.asked, of.answer.seed)


def _quantity(side: str, *codes: str) -> pairs.Quantity:
    name = f"contrast by {SIDES[side]}"
    return pairs.Quantity(name, "nats", DEFINITION.format(SIDES[side]), *codes, signed=True)


def _samples(of: Why, side: str) -> torch.Tensor:
    return as_tensor(getattr(of.text, f"{NAMED[side]}_side"))


def _contrast(sides: Sides, both: tuple[Why, ...], sampled: bool) -> str:
    """The contrast of either side; of a prompt less that of its control, over whose draws there is an interval."""
    of_prompt = both[0].asked.prompt is not None
    totals = [(of.answer.reasons.attribution if of_prompt else of.text).total.double() for of in both]
    said = [f"{_with_ends(estimate(total))} in {name}" for total, name in zip(totals, sides.names)]
    what = "The contrast, less that of its control," if of_prompt else "The contrast, the sum of all bars,"
    text = f"{what} is {' and '.join(said)}"
    return f"{text}; difference {_with_ends(paired_difference(*totals))}." if sampled else f"{text}."


def _with_ends(of: Estimate) -> str:
    ends = (None, None) if of.low is None else (float(of.low), float(of.high))
    return f"{number(float(of.mean))}{interval(*ends)}"
