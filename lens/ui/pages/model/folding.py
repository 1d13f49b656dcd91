"""The Model page: what the norms hold, where it folds to, and what the model says of every token before any context."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
import streamlit as st

from lens.analysis.anatomy import Fold, folds, no_unigram_bias, unigram_bias
from lens.figures.facts import Fact, facts
from lens.hooked import HookedTransformer
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.outcome import Explanation, Export, Outcome
from lens.ui.pages.model.ranked import Ranking, draw_ranking, labels, rank
from lens.ui.view import ViewState
from lens.ui.widgets import text_line

FORMULA = r"(\gamma \odot n + \beta)\, W + b \;=\; n\,(\mathrm{diag}(\gamma)\, W) + (b + \beta W)"
WHERE = (
    "n is the stream after centring (LN only) and scaling, γ and β the norm's gain and bias, W and b what reads it. "
    "The right side has no gain and no bias left: they are in the weights, and every probability is the same. For the "
    "unembedding, b + βW is the b_U above."
)
MISREADING = (
    "The ratio is not the odds of the two tokens in a text: it is the part of them that every context starts from. "
    "Read exp(b_U[a] − b_U[b]) as what remains when all other components are silent; b_U[a] − b_U[b] is one summand "
    "of any logit difference."
)
MISREADING_NONE = (
    "That b_U is 0 does not mean that the model has no idea of how common tokens are: it writes that into the stream, "
    "and there it looks like any other direction. A large gain is not importance either: what reads it may be small."
)
BIAS = (
    "What every prediction starts from, in logits, whatever the text: b_U + β W_U, its mean taken away (a constant "
    "changes no probability)."
)
TOKEN_HELP = "One token, with its leading space if it has one. Its b_U is compared with the other's."
NULL = "0 for every token, if the model knew nothing of how common tokens are"


def draw(view: ViewState, model: HookedTransformer) -> Outcome:
    """The whole tab."""
    norms, missing = analyse(folds, model), no_unigram_bias(model)
    rows = list(map(_fact, norms))
    if norms:
        st.html(facts(rows, "Norms of this model, and where they fold to"))
    else:
        parts.not_computed("the model has no norms, so there is nothing to fold.")
    figure, table, bias = facts(rows, "Norms"), pd.DataFrame([norm._asdict() for norm in norms]), None
    if missing:
        st.html("<b>The learned unigram bias</b>")
        parts.not_computed(f"{missing}. How common a token is must come from the stream.")
    else:
        bias = rank(analyse(unigram_bias, model).bias, "b_U (logits)", BIAS)
        figure, table = draw_ranking(model, bias, "The learned unigram bias", "model:b_U")
        _draw_ratio(view, model, bias)
    payload = {
        "norms": [norm._asdict() for norm in norms],
        "b_U": bias and bias.values,
        "no b_U because": missing or None,
    }
    misreading = MISREADING_NONE if missing else MISREADING
    files = Export("folding", figure, table, payload, code(view, bool(missing)), reads_prompt=False)
    return Outcome(Explanation(notice(model, norms, bias), misreading, formula=FORMULA, where=WHERE), files)


def code(view: ViewState, missing: bool) -> str:
    """The Python that computes the bias and the ratio again."""
    if missing:
        return "from lens.analysis.anatomy import folds, no_unigram_bias\n\nprint(folds(model), no_unigram_bias(model))"
    return (
        "from lens.analysis.anatomy import unigram_bias\n\n"
        "bias = unigram_bias(model).bias  # what fold_layer_norm and center_unembed make of model.b_U\n"
        f"a, b = model.to_single_token({view['a']!r}), model.to_single_token({view['b']!r})\n"
        "print((bias[a] - bias[b]).exp())"
    )


def _fact(fold: Fold) -> Fact:
    low, mean, high = fold.gain
    bias = f", bias up to ±{fold.bias:.3g}" if fold.bias is not None else ", no bias"
    where = f"its gain{' and bias go' if fold.bias is not None else ' goes'} into {fold.into}"
    centred = "; what reads it is centred along its input" if fold.bias is not None and fold.norm != "mlp.ln" else ""
    meaning = f"{where}{centred}" if fold.into else f"stays: {fold.stays}"
    times = f"{fold.count} × {fold.kind}"
    return Fact(fold.norm, f"{times}: gain {low:.3g} … {high:.3g}, mean {mean:.3g}{bias}", meaning)


def _draw_ratio(view: ViewState, model: HookedTransformer, bias: Ranking) -> None:
    st.markdown("**Two tokens of your choice**")
    if model.tokenizer is None:
        parts.not_computed(f"{model.name} has no tokenizer ({model.bos.reason}), so no text names a token.")
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        text_line(view, "a", "Token a", TOKEN_HELP, width=200)
        text_line(view, "b", "Token b", TOKEN_HELP, width=200)
        ids = [single(model, view[name]) for name in ("a", "b")]
        if all(isinstance(i, int) for i in ids):
            a, b = (float(bias.values[i]) for i in ids)
            help = parts.metric_help("exp(b_U[a] − b_U[b])", "ratio of probabilities", f"1: {NULL}")
            st.metric("Ratio a : b", ratio(a - b), help=help, width="content")
            st.metric("b_U of a", f"{a:.4f}", help=BIAS, width="content")
            st.metric("b_U of b", f"{b:.4f}", help=BIAS, width="content")
    for problem in (i for i in ids if isinstance(i, str)):
        parts.not_computed(problem)


def ratio(difference: float) -> str:
    """exp of a difference of logits, for reading."""
    return f"{math.exp(difference):.3f}" if abs(difference) < 7 else f"{math.exp(difference):.3g}"


def single(model: HookedTransformer, text: str) -> int | str:
    """The id of a text that is one token, or why it is not."""
    if not text:
        return "a token is missing: type one."
    try:
        return model.to_single_token(text)
    except ValueError as error:  # the message was written for people
        return f"{error}"


def notice(model: HookedTransformer, norms: Sequence[Fold], bias: Ranking | None) -> str:
    """What to see, from the numbers."""
    folding = [norm for norm in norms if norm.into]
    first = f"{sum(norm.count for norm in folding)} of {sum(norm.count for norm in norms)} norms fold"
    if folding:
        widest = max(folding, key=lambda norm: norm.gain[2] - norm.gain[0])
        first += f"; the gains vary most in {widest.norm}, from {widest.gain[0]:.3g} to {widest.gain[2]:.3g}"
    if bias is None:
        return f"{first}. No unigram bias is left in b_U."
    (top, low), names = bias.values[list(bias.ends)], labels(model, bias.ends)
    return (
        f"{first}. Before it reads anything, the model favours {names[0]} ({top:.2f}) over {names[1]} ({low:.2f}), "
        f"{ratio(float(top - low))} to 1; the spread over all tokens is {bias.values.std():.2f} logits."
    )
