"""One position through the layers: the paths of the tokens that lead anywhere, and every row in numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from lens.analysis.answer.logit_lens import DEFINITION
from lens.figures.fitted import PHONE, narrow
from lens.figures.lines import Axis, Line, lines
from lens.ui import parts
from lens.ui.labels import token_labels
from lens.ui.widgets import fold

if TYPE_CHECKING:
    from lens.analysis.answer.logit_lens import Followed
    from lens.figures.drawn import Drawn
    from lens.hooked import HookedTransformer
    from lens.ui.pages.logit_lens.controls import Place
    from lens.ui.pages.logit_lens.reading import Lens
    from lens.ui.view import ViewState

X = "after layer (−1: the embedding)"
X_MID = "after layer (−1: the embedding; halves: between attention and MLP)"
AXES = {"prob": "probability", "logprob": "log-probability (nats)", "rank": "rank (log₁₀; 0 is the top)"}


def draw_paths(model: HookedTransformer, lens: Lens, place: Place, followed: Followed, number: str) -> Drawn:
    """A curve per token; returns the figure."""
    of = {
        "prob": np.exp(followed.logprob), "logprob": followed.logprob, "rank": np.log10(followed.rank + 1.0),
    }  # fmt: skip
    kind = number if number in of else "prob"
    x = np.array([row.layer - 0.5 * row.mid for row in lens.rows], np.float32)
    names = token_names(model, followed.ids)
    curves = [Line(name, of[kind][:, i], x=x) for i, name in enumerate(names)]
    title = f"Tokens at {lens.labels[place.position]}, layer by layer"
    axis = Axis(X_MID if lens.chosen.mid else X, AXES[kind])
    figure = narrow(lines(curves, axis, title=title, definition=DEFINITION), PHONE)
    last = "; ".join(f"{name} {np.exp(followed.logprob[-1, i]):.3f}" for i, name in enumerate(names))
    parts.chart(figure, f"{title}. Probability in the last row: {last}", key="logit_lens:paths")
    return figure


def token_names(model: HookedTransformer, ids: np.ndarray) -> list[str]:
    """Labels that differ: two tokens that look the same get their ids."""
    labels = token_labels(model, ids)
    return [label if labels.count(label) == 1 else f"{label} (id {i})" for label, i in zip(labels, ids.tolist())]


def draw_numbers(view: ViewState, model: HookedTransformer, lens: Lens, place: Place, followed: Followed) -> None:
    """Every row at this position, folded away."""
    box = fold(view, "numbers", f"Every row at {lens.labels[place.position]}")
    if box.open:
        with box:
            rows = numbers_of(model, lens, place, followed)
            parts.table(rows, "Every row of the lens at this position, the last one first", height=420)


def numbers_of(model: HookedTransformer, lens: Lens, place: Place, followed: Followed) -> pd.DataFrame:
    """One row per row of the lens, the last one first: its likeliest tokens, entropy and KL."""
    at, found = place.position, lens.found
    labels = token_labels(model, followed.top.ravel())
    per_row = followed.top.shape[1]
    probs = np.exp(followed.top_logprob)
    likeliest = [
        " · ".join(f"{labels[row * per_row + k]} {probs[row, k]:.3f}" for k in range(per_row))
        for row in range(len(lens.rows))
    ]
    known = found.rank[:, at] >= 0
    frame = pd.DataFrame({
        "row": [row.label for row in lens.rows],
        "likeliest tokens": likeliest,
        "log-probability (nats)": found.logprob[:, at],
        "probability": np.exp(found.logprob[:, at]),
        "rank (from 1)": pd.Series(found.rank[:, at] + 1, dtype="Int64").where(known),
        "entropy (nats)": found.entropy[:, at],
        "KL to the output (nats)": found.kl[:, at],
    })  # fmt: skip
    return frame.iloc[::-1]
