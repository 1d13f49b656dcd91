"""What the Logit lens page says: sentences, computed from its numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lens.analysis.answer.fitted_lens import LENGTH, POSITIONS
from lens.analysis.answer.lens_rows import PARTS
from lens.analysis.answer.logit_lens import settles
from lens.figures.theme import number
from lens.texts import HELD_OUT_NAME

if TYPE_CHECKING:
    from lens.analysis.answer.fitted_lens import FitQuality
    from lens.analysis.answer.lens_rows import LensRow
    from lens.analysis.answer.logit_lens import Followed
    from lens.analysis.stats import Estimate
    from lens.ui.pages.logit_lens.controls import Place
    from lens.ui.pages.logit_lens.reading import Lens

MISREADING = (
    "What is in the stream need not be used: a row shows what the last layer's reader would make of it, not what the "
    "next layer reads. And a row that says nothing need not know nothing: early layers may keep the answer in "
    "directions that the unembedding does not read, which in some models is most of the depth."
)
FITTED_MISREADING = (
    "A fitted decoder shows what a linear reader could get from a layer, not what the model uses: the map was learned "
    "from text, and may know from it what this layer does not say. It has seen the shipped text only."
)
FORMULA = (
    r"p_l = \operatorname{softmax}(\operatorname{Norm}(x_l) W_U + b_U), \qquad "
    r"\mathrm{KL}_l = \sum_v p_L(v) \ln \frac{p_L(v)}{p_l(v)}"
)
FITTED_FORMULA = r"p_l = \operatorname{softmax}(\operatorname{Norm}(x_l + x_l A_l + b_l) W_U + b_U), \qquad A_L = 0"
WHERE = (
    "x_l is the stream after layer l at one position, Norm the model's final norm with this stream's own statistics, "
    "gain and bias; a cap on the logits is applied too. Rank 1 is the top; the export counts from 0."
)


def at_position(lens: Lens, place: Place, followed: Followed) -> str:
    """When the top token of the last row came to stay, and who led before."""
    words = [row[place.position] for row in lens.words]
    last, label = words[-1], lens.labels[place.position]
    first = int(settles((np.array(words) != last).astype(int)))
    prob = np.exp(lens.found.top_logprob[-1, place.position])
    text = f"At {label} the last row says {last} ({number(prob)}). It is on top {since(lens.rows[first])}."
    others = list(dict.fromkeys(word for word in reversed(words[:first]) if word != last))
    if others:
        text += f" Before it, {len(others)} other token{'s lead' if len(others) > 1 else ' leads'}, last {others[0]}."
    place_of_cell = f"{lens.rows[place.row].label}"
    if place.row != len(lens.rows) - 1 and words[place.row] != last:
        end = int(followed.rank[-1, 0]) + 1
        text += f" {words[place.row]}, on top in row {place_of_cell}, ends at rank {end:,}."
    return text


def over_positions(lens: Lens) -> str:
    """When the followed tokens came to stay, over the whole text, first token left out."""
    rank = lens.found.rank[:, 1:]
    known = (rank >= 0).all(0)
    if not known.any():
        return ""
    first, n = np.asarray(settles(rank[:, known])), int(known.sum())
    on_top = first[first >= 0]
    what = "the output's top token" if lens.chosen.about == "final" else "the token that came"
    text = f"Over {n} position{'s' if n > 1 else ''} (the first left out), {what} is on top of the last row at "
    text += f"{len(on_top)}"
    if lens.chosen.about == "final" and lens.chosen.source == "stream":
        text = f"Over {n} position{'s' if n > 1 else ''} (the first left out), {what} leads"
    elif len(on_top):
        text += ", and there"
    if len(on_top):
        text += f" at the median {since(lens.rows[int(np.median(on_top))])}"
    kl = lens.found.kl[:, 1:].mean(1)
    return f"{text}. The mean KL to the output goes from {number(kl[0])} to {number(kl[-1])} nats."


def since(row: LensRow) -> str:
    """From which row on, in words."""
    if row.layer < 0:
        return "from the embedding on"
    return f"from between attention and MLP of layer {row.layer} on" if row.mid else f"from after layer {row.layer} on"


def source(lens: Lens) -> str:
    """What is decoded, where it is not the stream alone."""
    if lens.chosen.source == "stream":
        return ""
    return f"{PARTS[lens.chosen.source].capitalize()}. No row of it is the output: the rest of the stream is missing."


def sample(lens: Lens) -> str:
    """How many positions, and why there is no interval."""
    return f"{len(lens.labels)} positions of one text: no interval. Another text may settle earlier or later."


def quality(of: FitQuality) -> str:
    """How much the fit gains on text that it was not fitted to."""
    gain = of.raw_kl.mean - of.kl.mean
    at = int(np.argmax(gain))
    row = of.rows[at]
    where = "between attention and MLP of" if row.mid else "after"
    where = "at the embedding" if row.layer < 0 else f"{where} layer {row.layer}"
    return (
        f"On text it was not fitted to, the fitted decoder gains most {where}: KL {_interval(of.kl, at)} instead of "
        f"{_interval(of.raw_kl, at)} nats, R² {of.r2[at]:.2f} of the last stream."
    )


def fit(of: FitQuality) -> str:
    """Sample of the fit and of what is said of it."""
    return (
        f"Fitted to {of.n_fit:,} tokens, the first {LENGTH} of every second chapter of {HELD_OUT_NAME}; R² on the "
        f"{of.n_held_out:,} tokens of the other {of.kl.n} chapters, KL at {POSITIONS} of each. {of.kl.note}"
    )


def _interval(of: Estimate, at: int) -> str:
    bounds = "" if of.low is None else f" [{number(of.low[at])}, {number(of.high[at])}]"
    return f"{number(of.mean[at])}{bounds}"
