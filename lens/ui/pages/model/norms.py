"""The Model page: how long the vectors of all tokens are, in the embedding and in the unembedding."""

from typing import Any

from lens.analysis.anatomy import VectorNorms, embed_norms, unembed_norms
from lens.figures.histogram import Band
from lens.ui.calls import analyse
from lens.ui.explanation import Explanation, explain
from lens.ui.export import Export, export
from lens.ui.pages.model.ranked import Ranking, labels, rank, show_ranking, whole
from lens.ui.view import ViewState
from lens.ui.widgets import segmented

SIDES = {"embed": "W_E, read", "unembed": "W_U, written"}
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


def show_norms(view: ViewState, model: Any) -> None:
    """The whole tab."""
    side = segmented(view, "side", tuple(SIDES), "Vectors", HELP, format_func=SIDES.get)
    found = analyse(embed_norms if side == "embed" else unembed_norms, model)
    what = "rows of W_E" if side == "embed" else "columns of W_U"
    definition = f"Euclidean length of the {what}, one for each of {model.cfg.d_vocab:,} tokens."
    ranking, band = rank(found.norms, "length", definition), Band(found.low, found.high, "95% of random vectors")
    title = f"Lengths of the {what} of {model.name}"
    figure = show_ranking(model, ranking, title, "model:norms", band)
    explain(
        view,
        model,
        Explanation(
            notice(model, ranking, found, what), MISREADING, (), (), FORMULA, _band_words(found, model.cfg.d_model)
        ),
    )
    payload = found._asdict() | {"vectors": what}
    name = f"{side}_norms"
    code = f"from lens.analysis.anatomy import {name}\n\nprint({name}(model).norms.sort())"
    made = Export(name.replace("_", "-"), figure, whole(model, ranking), payload, code, reads_prompt=False)
    export(view, made)


def notice(model: Any, ranking: Ranking, found: VectorNorms, what: str) -> str:
    """What to see, from the numbers."""
    longest, shortest = labels(model, (ranking.first, ranking.last))
    tied = " W_E and W_U are one memory here, so both have these lengths." if model.cfg.tied else ""
    return (
        f"The {what} are {found.norms.mean():.3f} long on average, from {found.norms[ranking.last]:.3f} ({shortest}) "
        f"to {found.norms[ranking.first]:.3f} ({longest}). {found.inside:.0%} lie between {found.low:.3f} and "
        f"{found.high:.3f}, where 95% of random vectors of the same overall size would.{tied}"
    )


def _band_words(found: VectorNorms, d_model: int) -> str:
    return (
        f"The band is the null: vectors of {d_model} independent normal entries with the same mean square would be "
        f"{found.typical:.4f} · (1 ± 1.96/√(2·{d_model})) long in 95 of 100 cases."
    )
