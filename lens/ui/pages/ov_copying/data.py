"""Copying on data beside the weights: what every head writes on random tokens that repeat, and on natural text."""

from collections.abc import Callable

import numpy as np
import streamlit as st

from lens.analysis.copying_on_data import CopyingScores, copying_on_data, from_one
from lens.analysis.copying_on_text import join_text, text_copying, text_paths_of
from lens.analysis.copying_verdicts import DIFFER, RULE, by_data, differ
from lens.analysis.held_out import beginnings
from lens.analysis.names import Head
from lens.analysis.rank_correlation import HOW, rank_correlation
from lens.analysis.rotation_test import NULL as ROTATIONS
from lens.analysis.score_results import HeadScore
from lens.figures.measure import Measure
from lens.figures.scatter import scatter
from lens.figures.theme import number
from lens.hooked import HookedTransformer
from lens.texts import HELD_OUT_NAME, UNIT, held_out
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.estimate import forward_seconds
from lens.ui.explanation import Explanation, explain
from lens.ui.pages.ov_copying import ON, words
from lens.ui.pages.ov_copying.grid import Copying
from lens.ui.shared import repeats
from lens.ui.shared.computing import Cells, compute
from lens.ui.shared.copying_words import Null, OnData
from lens.ui.shared.wording import capital
from lens.ui.store import to_torch
from lens.ui.view import ViewState
from lens.ui.widgets import segmented

LENGTH, AT_ONCE = 128, 4  # tokens of a document; documents read together, so that Cancel answers
ON_HELP = (
    "**Repeats:** random tokens that come twice: does it raise the token that followed the first time? **Text:** the "
    "beginnings of held-out chapters: does it raise the tokens it attends to, whichever they are?"
)
REPEATS = {
    "target_rank": "Rank of the induction target",
    "target_logit": "Logit of the induction target",
    "attended_share": "Share of the attended token",
}
TEXT = {"text_share": "Share of the attended tokens", "text_logit": "Logit of the attended tokens"}
MISREADING = {
    "repeats": (
        "A large direct logit on repeats need not come from copying the token that is attended to: the token before it "
        "may have been moved there by an earlier head. And a head that copies by its weights but looks elsewhere shows "
        "nothing here."
    ),
    "text": (
        "A small share is no failure to copy: attention to position 0 counts as nothing, so a head that rests there "
        "most of the time cannot reach a large one. And a head that looks at one and the same token of a text all "
        "along has no control to differ from: it shows 0 even if it copies."
    ),
}
NO_TEXT = "this model has no tokenizer, so it reads no text. Repeats of random tokens need none"


def show_data(view: ViewState, model: HookedTransformer, copying: Copying, null: Null | None, head: Head) -> None:
    """The weights' verdict against what the head writes, on repeats or on text."""
    on = segmented(view, "on", tuple(ON), "On", ON_HELP, format_func=ON.get)
    if on == "text" and model.tokenizer is None:
        parts.not_computed(f"{NO_TEXT}.")
        return
    scores = text_scores(text_cells(view, model)) if on == "text" else repeat_scores(view, model)
    if scores is None:
        return
    weights = copying.chosen.score
    data = on_data(scores, weights)
    if on == "text":
        logit, about, names = scores["text_logit"], words.text_words, TEXT
    else:
        logit, about, names = scores["target_logit"], words.repeats_words, REPEATS
    y = Measure(f"logit on {on} above control", f"Minus its control: {logit.kind.definition}", logit.effect.mean,
                "logits", signed=True)  # fmt: skip
    agreement = analyse(rank_correlation, weights, logit.effect.mean, model.cfg.group_size)
    sentence = about(weights, null, data, head, agreement)
    left, right = st.columns([1.4, 1], gap="medium")
    with left:
        x = words.measure(weights, None, copying.circuit)
        figure = scatter(x, y, pinned=view["pins"], current=head, title=f"Copying: weights against {ON[on].lower()}")
        parts.head_grid(figure, view, key=f"ov:data:{on}", alt=sentence)
    with right:
        for name, title in names.items():
            _metric(from_one(scores[name]) if name == "target_rank" else scores[name], title, head)
    note = next(iter(scores.scores.values())).effect.note
    chance = (
        f"{scores.source}. Control: {logit.kind.null}. {capital(note)}. Beside it: {ROTATIONS}. {RULE} "
        f"{DIFFER} Rank correlations: {HOW}."
    )
    explain(view, model, Explanation(sentence, MISREADING[on], measured=(("Against chance", chance),)))


def repeat_scores(view: ViewState, model: HookedTransformer) -> CopyingScores:
    """Direct paths of all heads on the random tokens that the view names."""
    sample = repeats.sample(model, repeats.settings(view, model))
    return analyse(copying_on_data, model, to_torch(sample.repeated), progress=True)


def on_data(scores: CopyingScores, weights: np.ndarray, kept: bool = True) -> OnData:
    """The logits of all heads with their verdicts; ``weights`` are the copying scores they are held against."""
    logit = scores["text_logit" if "text_logit" in scores.scores else "target_logit"]
    unit = "chapters" if "text_logit" in scores.scores else "sequences"
    side = compute(by_data, *to_torch((logit.effect, scores.z, scores.written)), unit, kept=kept)
    return OnData(scores, side, compute(differ, to_torch(weights), to_torch(side), kept=kept))


def text_cells(view: ViewState, model: HookedTransformer) -> Cells:
    """Direct paths of all heads on as many held-out chapters as the view has sequences, a few at a time."""
    chosen = repeats.settings(view, model)
    n = min(chosen.seqs, len(held_out()))
    batch = to_torch(analyse(beginnings, model, n, chosen.bos, LENGTH))
    blocks = [(start, min(start + AT_ONCE, n)) for start in range(0, n, AT_ONCE)]
    return Cells(text_paths_of, blocks, (model, batch.tokens, batch.mask))


def text_scores(cells: Cells, show: Callable[[CopyingScores], None] | None = None) -> CopyingScores | None:
    """The scores of the chapters that ``text_cells`` names; None if none was read.

    ``show(scores)`` draws those of the chapters that are read meanwhile.
    """
    model, tokens, mask = cells.args
    where = f"the first {tokens.shape[1]} of each, evenly chosen (no seed) from {HELD_OUT_NAME}"

    def scores(done: dict, kept: bool) -> CopyingScores:
        return compute(text_copying, join_text(to_torch(list(done.values()))), where, UNIT, kept=kept)

    draw = None if show is None else lambda done: show(scores(done, kept=False))
    done = cells.sweep(draw, forward_seconds(model, int(mask.sum()), unembed=False)).done
    return scores(done, kept=True) if done else None


def _metric(score: HeadScore, title: str, head: Head) -> None:
    control, mean = float(score.null_mean[head]), float(score.score.mean[head])
    null = f"{number(score.uniform)}; {score.kind.null}: {number(control)}"
    help = parts.metric_help(score.kind.definition, score.kind.unit, null)
    ends = "" if score.score.low is None else f" [{number(score.score.low[head])}, {number(score.score.high[head])}]"
    st.metric(f"{title}, head {head[0]}.{head[1]}", f"{number(mean)}{ends}", help=help)
    st.caption(f"control {number(control)}, difference {number(float(score.effect.mean[head]))}")
