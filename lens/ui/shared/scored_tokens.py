"""The tokens of a text with what is known of each from its prediction, as strips of tokens colour and name them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lens.analysis.loss import ENTROPY, LOSS, RANK, NextToken, PerToken, per_token
from lens.figures.strip import Scale
from lens.pieces import Pieces

if TYPE_CHECKING:
    from lens.hooked import HookedTransformer

MARK = "underlined: the model's top guess was right"
COLOUR_HELP = f"""What the colour of a token says about its prediction by the tokens before it.

**Loss:** {LOSS}

**Rank:** {RANK}

**Entropy:** {ENTROPY}"""


class Tokens(NamedTuple):
    """The tokens of a prompt, one entry per position."""

    labels: Sequence[str]
    ids: np.ndarray
    bytes: Sequence[str]  # hexadecimal
    by: PerToken  # what is known of each from its prediction


def scored_tokens(model: HookedTransformer, labels: Sequence[str], ids: np.ndarray, stats: NextToken) -> Tokens:
    """The tokens ``ids`` of one text with their ``stats``."""
    pieces = Pieces(model.tokenizer)
    return Tokens(labels, ids, [pieces.bytes_of(int(i)).hex(" ") for i in ids], per_token(stats))


def unscored_token(labels: Sequence[str], ids: np.ndarray) -> Tokens:
    """A text of one token, which nothing predicts."""
    nothing, none = np.array([np.nan]), np.array([-1])
    return Tokens(labels, ids, [""], PerToken(nothing, nothing, none, nothing, none))


def hovers(tokens: Tokens) -> list[str]:
    """What a token says when the mouse rests on it, and what a screen reader reads."""
    texts, by = [], tokens.by
    for t, (i, code) in enumerate(zip(tokens.ids, tokens.bytes)):
        scored = f"loss {by.loss[t]:.2f} nats · probability {by.prob[t]:.2g} · rank {1 + by.rank[t]:,}"
        scored += f", tied with {by.tied[t]:,}" if by.tied[t] > 0 else ""
        texts.append(f"position {t} · id {i} · bytes {code} · {scored if t else 'not predicted'}")
    return texts


def colouring(tokens: Tokens, name: str, d_vocab: int) -> tuple[np.ndarray, Scale]:
    """The values that colour the strip and their scale, the same for every prompt of a model."""
    even, by = float(np.log(d_vocab)), tokens.by
    certain = ("0: certain", f"{even:.1f}: an even guess among {d_vocab:,}")
    if name == "probability":
        return by.prob, Scale("probability of the token", 0, 1, ends=("0", "1"), mark=MARK)
    if name == "rank":
        values = np.where(by.rank < 0, np.nan, np.log1p(np.maximum(by.rank, 0)))
        return values, Scale(
            "tokens likelier than it", 0, even, ends=("0: its top guess", f"{d_vocab - 1:,} (log)"), mark=MARK
        )
    if name == "entropy":
        return by.entropy, Scale("entropy of the prediction (nats)", 0, even, ends=certain, mark=MARK)
    return by.loss, Scale("loss (nats)", 0, even, ends=certain, mark=MARK)
