"""What is known of each token of a text from its prediction, in both: a pair that two pages share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lens.analysis.compare import by_text, log_rank, token_pieces
from lens.analysis.loss import PerToken, per_token, text_stats
from lens.pieces import Pieces
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.ending import end_page
from lens.ui.models import read_prompt
from lens.ui.shared.compare import pairs

if TYPE_CHECKING:
    from lens.hooked import HookedTransformer
    from lens.ui.models import Prompt
    from lens.ui.shared.compare.pairs import Pair
    from lens.ui.shared.compare.section import Sides
    from lens.ui.view import ViewState

UNITS = {"loss": "nats", "probability": "probability", "rank": "log₁₀ of the rank from 1", "entropy": "nats"}
DEFINITIONS = {
    "loss": "Minus the log-probability of each token, given those before it.",
    "probability": "Of each token, given those before it.",
    "rank": "How many tokens the model held for likelier than the one that came, and one.",
    "entropy": "Of the prediction of each token, before it is seen.",
}
VALUES = {
    "loss": "by.loss",
    "probability": "by.prob",
    "rank": "log_rank(by.rank)",
    "entropy": "by.entropy",
}
RANKS = "from lens.analysis.compare import log_rank\n"
CUTS = "A token of a model that cuts the text into fewer, longer ones holds more, and costs more."


class Scored(NamedTuple):
    """A text and what is known of each of its tokens."""

    prompt: Prompt
    by: PerToken


def scored(longest: int, view: ViewState, model: HookedTransformer) -> Scored:
    """The numbers of one side; the section ends where the text has one token, which nothing predicts."""
    prompt = read_prompt(view, model, longest)
    if len(prompt.labels) < 2:
        parts.not_computed(f"{model.name} reads one token there: nothing predicts it.")
        end_page()
    stats, _ = analyse(text_stats, model, prompt.tokens, progress=True)
    return Scored(prompt, per_token(stats))


def values(by: PerToken, name: str) -> np.ndarray:
    """[pos], as it is compared: ranks by their logarithm, NaN where nothing was predicted."""
    if name == "rank":
        return log_rank(by.rank)
    return by.prob if name == "probability" else getattr(by, name)


def pair(name: str, sides: Sides, first: Scored, second: Scored) -> Pair:
    """Token by token, those that cover the same text."""
    code = (
        f"{RANKS if name == 'rank' else ''}from lens.analysis.loss import per_token, text_stats\n\n"
        f"by = per_token(text_stats(model, tokens).stats)\nvalues = {VALUES[name]}"
    )
    along = pairs.text("position", sides.models, (first.prompt, second.prompt))
    definition = DEFINITIONS[name] if same_vocabulary(sides) else f"{DEFINITIONS[name]} {CUTS}"
    quantity = pairs.Quantity(f"{name} by token", UNITS[name], definition, code)
    return pairs.tokens(quantity, values(first.by, name), values(second.by, name), along)


def id_beside(model: HookedTransformer, other: HookedTransformer, token: int) -> int | None:
    """The id of a token's text in another model: the same at another time of one training; None where the text is
    several tokens there."""
    if model.name == other.name:
        return token
    ids = other.all_ids(Pieces(model.tokenizer).bytes_of(token).decode("utf-8", "replace"), False)
    return ids[0] if len(ids) == 1 else None


def place_beside(models: Sequence[HookedTransformer], first: Prompt, second: Prompt, place: int) -> int | None:
    """The position of the second text that covers what ``place`` of the first covers, or is the last as it is the
    last; None where it has none."""
    if place == len(first.labels) - 1:
        return len(second.labels) - 1
    return by_text(*map(token_pieces, models, (first.tokens[0], second.tokens[0]))).counterpart(place)


def same_vocabulary(sides: Sides) -> bool:
    """Whether an id is the same token for both."""
    tokenizers = [model.tokenizer for model in sides.models]
    return sides.same_run or (None not in tokenizers and tokenizers[0].get_vocab() == tokenizers[1].get_vocab())
