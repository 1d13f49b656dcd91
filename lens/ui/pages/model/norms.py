"""The Model page: how long the vectors of all tokens are, in the embedding and in the unembedding."""

from __future__ import annotations

from lens.analysis.anatomy import VectorNorms, embed_norms, unembed_norms
from lens.figures.histogram import Band
from lens.hooked import HookedTransformer
from lens.ui.calls import analyse
from lens.ui.outcome import Explanation, Export, Outcome
from lens.ui.pages.model.ranked import Ranking, draw_ranking, labels, rank
from lens.ui.view import ViewState
from lens.ui.widgets import segmented

SIDES = {"embed": "W_E, read", "unembed": "W_U, written"}
VECTORS = {"embed": "rows of W_E", "unembed": "columns of W_U"}
MEASURES = {"embed": embed_norms, "unembed": unembed_norms}
HELP = (
    "**W_E:** the vector that a token puts into the stream (its row), before any scaling of the embedding. **W_U:** "
    "the vector along which the stream raises its logit (its column), before the final norm's gain is folded in."
)
FORMULA = r"\lVert v \rVert = \sqrt{\textstyle\sum_i v_i^2}"
MISREADING = (
    "A short vector is not an unimportant token. Tokens that training never met often have nearly equal vectors, short "
    "or long, depending on how it treats what it never sees; and the norm that follows the embedding removes most of "
    "the difference."
)


def draw(view: ViewState, model: HookedTransformer) -> Outcome:
    """The whole tab."""
    side = segmented(view, "side", tuple(SIDES), "Vectors", HELP, format_func=SIDES.get)
    lengths, what = analyse(MEASURES[side], model), VECTORS[side]
    definition = f"Euclidean length of the {what}, one for each of {model.cfg.d_vocab:,} tokens."
    ranking, band = rank(lengths.norms, "length", definition), Band(lengths.low, lengths.high, "95% of random vectors")
    figure, table = draw_ranking(model, ranking, f"Lengths of the {what} of {model.name}", "model:norms", band)
    explanation = Explanation(
        notice(model, ranking, lengths, what),
        MISREADING,
        formula=FORMULA,
        where=_band_words(lengths, model.cfg.d_model),
    )
    code = f"from lens.analysis.anatomy import {side}_norms\n\nprint({side}_norms(model).norms.sort())"
    payload = lengths._asdict() | {"vectors": what}
    return Outcome(explanation, Export(f"{side}-norms", figure, table, payload, code, reads_prompt=False))


def notice(model: HookedTransformer, ranking: Ranking, lengths: VectorNorms, what: str) -> str:
    """What to see, from the numbers."""
    longest, shortest = labels(model, ranking.ends)
    largest, smallest = lengths.norms[list(ranking.ends)]
    tied = " W_E and W_U are one memory here, so both have these lengths." if model.cfg.tied else ""
    return (
        f"The {what} are {lengths.norms.mean():.3f} long on average, from {smallest:.3f} ({shortest}) to {largest:.3f} "
        f"({longest}). {lengths.inside:.0%} lie between {lengths.low:.3f} and {lengths.high:.3f}, where 95% of random "
        f"vectors of the same overall size would.{tied}"
    )


def _band_words(lengths: VectorNorms, d_model: int) -> str:
    return (
        f"The band is the null: vectors of {d_model} independent normal entries with the same mean square would be "
        f"{lengths.typical:.4f} · (1 ± 1.96/√(2·{d_model})) long in 95 of 100 cases."
    )
