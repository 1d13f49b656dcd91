"""The numbers of a prompt told per token: entry t is about the token at position t, as predicted just before it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from lens.figures.strip import Scale
from lens.pieces import Pieces

MARK = "underlined: the model's top guess was right"


class Told(NamedTuple):
    """Arrays [pos]; at position 0, which nothing predicts, floats are NaN and rank is −1."""

    labels: Sequence[str]
    ids: np.ndarray
    bytes: Sequence[str]  # hexadecimal
    loss: np.ndarray  # nats
    prob: np.ndarray
    rank: np.ndarray
    entropy: np.ndarray  # nats
    tied: np.ndarray  # other tokens that scored exactly as high

    @property
    def guessed(self) -> np.ndarray:
        """Positions of the tokens that were the top guess, and no other with them."""
        return np.flatnonzero((self.rank == 0) & (self.tied == 0))

    @property
    def worst(self) -> np.ndarray:
        """Positions of the predicted tokens, the most surprising first."""
        return np.argsort(-self.loss[1:], kind="stable") + 1


def tell(model: Any, labels: Sequence[str], ids: np.ndarray, stats: Any) -> Told:
    """``stats`` (a ``NextToken`` of one text) moved by one, from the position that predicts to the token predicted."""

    def about(values: np.ndarray, first: float) -> np.ndarray:
        return np.concatenate([[first], values[0, :-1]]).astype(values.dtype)

    rows = [about(values, np.nan) for values in (stats.loss, stats.prob, stats.entropy)]
    pieces = Pieces(model.tokenizer)
    codes = [pieces.bytes_of(int(i)).hex(" ") for i in ids]
    return Told(labels, ids, codes, rows[0], rows[1], about(stats.rank, -1), rows[2], about(stats.tied, -1))


def table(told: Told) -> pd.DataFrame:
    """One row per token, ready to sort and to save."""
    predicted = told.rank >= 0
    columns = {
        "position": np.arange(len(told.ids)),
        "token": list(told.labels),
        "id": told.ids,
        "bytes": list(told.bytes),
        "loss (nats)": told.loss,
        "probability": told.prob,
        "rank": pd.array(np.where(predicted, told.rank, 0), dtype="Int64"),
        "entropy (nats)": told.entropy,
        "top guess": (told.rank == 0) & (told.tied == 0),
    }
    frame = pd.DataFrame(columns)
    frame.loc[~predicted, "rank"] = pd.NA
    return frame


def hovers(told: Told) -> list[str]:
    """What a token says when the mouse rests on it, and what a screen reader reads."""
    texts = []
    for t, (number, code) in enumerate(zip(told.ids, told.bytes)):
        scored = f"loss {told.loss[t]:.2f} nats · probability {told.prob[t]:.2g} · rank {told.rank[t]:,}"
        scored += f", tied with {told.tied[t]:,}" if told.tied[t] > 0 else ""
        texts.append(f"position {t} · id {number} · bytes {code} · {scored if t else 'not predicted'}")
    return texts


def colouring(told: Told, by: str, d_vocab: int) -> tuple[np.ndarray, Scale]:
    """The values that colour the strip and their scale, the same for every prompt of a model."""
    even = float(np.log(d_vocab))
    guess = f"{even:.1f}: an even guess among {d_vocab:,}"
    if by == "probability":
        return told.prob, Scale("probability of the token", 0, 1, ends=("0", "1"), mark=MARK)
    if by == "rank":
        values = np.where(told.rank < 0, np.nan, np.log1p(np.maximum(told.rank, 0)))
        return values, Scale("tokens likelier than it", 0, even, ends=("none", f"{d_vocab - 1:,} (log)"), mark=MARK)
    if by == "entropy":
        scale = Scale("entropy of the prediction (nats)", 0, even, ends=("0: certain", guess), mark=MARK)
        return told.entropy, scale
    return told.loss, Scale("loss (nats)", 0, even, ends=("0: certain", guess), mark=MARK)
