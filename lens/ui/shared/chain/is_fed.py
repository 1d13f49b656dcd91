"""Fifth link: the earlier heads that write what this head reads, with their own previous-token scores beside them."""

from typing import TYPE_CHECKING, NamedTuple

import pandas as pd
import streamlit as st

from lens.analysis.composition import DEFINITION, READS, composition, fed_by, feeders
from lens.analysis.head_weights import why_not_bilinear
from lens.figures.theme import number
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.estimate import operation_seconds
from lens.ui.models import model_key
from lens.ui.shared import heads, reasons, score_words
from lens.ui.shared.chain.link import NOT_YET, Case, Finding, explain_link, may_start
from lens.ui.shared.wording import percent, sentence

if TYPE_CHECKING:
    from lens.analysis.composition import Composition, FedBy
    from lens.analysis.score_results import HeadScore
    from lens.hooked import HookedTransformer

MOST = 4  # feeders of each mode
FEW_ROWS = 50  # operations for each of d_head² d_model, at a forward pass's speed: measured with SmolLM2 on one core
FIRST_LAYER = "no head is in an earlier layer than layer 0"


class Fed(NamedTuple):
    """The head that feeds this one most."""

    by: str  # the mode: "K"; "V" where queries and keys are not bilinear
    most: "FedBy"
    times: float  # its score over what a random rotation gives


def find(case: Case) -> Finding:
    """Its strongest feeder by keys, which are what an induction head is found by."""
    model, head = case.model, case.head
    if head.layer == 0:
        return Finding("layer 0 has no feeders", "none")
    by = "K" if why_not_bilinear(model.cfg) is None else "V"
    key = f"is-fed-{model_key(model)}-{head}-{by}-{offset(model, by, case.sample.settings.n)}"
    if not case.full and not may_start(case, key, _seconds(model), ""):
        return NOT_YET
    pairs = by_mode(case, by)
    most = fed_by(pairs, head, case.sample.scores["previous"].score.mean)
    fed = Fed(by, most, most.passed / pairs.null)
    numbers = {"by": by, "feeder": str(most.feeder), "composition": most.passed, "beyond chance": most.beyond}
    if not most.beyond:
        return Finding(f"by no head beyond chance ({by})", "none", numbers, fed)
    return Finding(f"most by {most.feeder} ({by}, {fed.times:.1f} × chance)", "found", numbers, fed)


def offset(model: "HookedTransformer", mode: str, n: int) -> int:
    """Tokens from the key to its query: those of an induction head on a block of ``n`` that repeats."""
    turns = model.cfg.positions == "rotary" and mode != "V"
    return min(n - 1, model.cfg.n_ctx - 1) if turns else 0


def by_mode(case: Case, mode: str) -> "Composition":
    """Composition of the pairs that end at the head, as the page of that name shows it first."""
    back = offset(case.model, mode, case.sample.settings.n)
    return analyse(composition, case.model, mode, back, "folded", progress=True, receiver=tuple(case.head))


def _seconds(model: "HookedTransformer") -> float:
    """Rough time of one mode: what every head writes, as few rows."""
    cfg = model.cfg
    return operation_seconds(model, FEW_ROWS * cfg.n_layers * cfg.n_heads * cfg.d_head**2 * cfg.d_model)


def draw(case: Case, finding: Finding) -> Finding:
    """Short: its sentence. In full: a table of the strongest feeders of queries, keys and values as well."""
    if finding.state == "later":
        return finding
    if finding.result is None:
        if case.full:
            parts.not_computed(f"{FIRST_LAYER}.")
        else:
            explain_link(case, sentence(FIRST_LAYER))
        return finding
    if not case.full:
        explain_link(case, fed_words(finding.result))
        return finding
    modes = READS if why_not_bilinear(case.model.cfg) is None else ("V",)
    pairs = {mode: by_mode(case, mode) for mode in modes}
    rows = strongest_feeders(pairs, case)
    _draw_table(case, pairs["V"].null, rows)
    previous, back = previous_words(rows, case.sample.scores["previous"]), pairs["K"].offset if "K" in pairs else None
    turned = "" if back is None else f"For Q and K, the key stands δ = {back} tokens before its query."
    explain_link(case, f"{fed_words(finding.result)} {previous} {turned} {passed_words(case, finding.result)}".strip())
    return finding._replace(numbers=finding.numbers | {"feeders": rows.to_dict("records")})


def passed_words(case: Case, fed: Fed) -> str:
    """What was passed beside what the weights could pass, where the link before has computed it."""
    if fed.by != "K" or reasons.why_not(case.model) or reasons.stripe_seconds(case.model, case.head, case.sample):
        return ""
    of = reasons.stripe_answer(case.model, case.head, case.sample, case.view["seed"])
    write = of.keys.write
    if not of.mechanism.verdict.found or write.kind != "head":
        return ""
    agree = (write.layer, write.head) == tuple(fed.most.feeder)
    return (
        f"That is what the weights could pass; what its keys read most on the repeats is head {write} "
        f"({percent(of.keys.share)} of the contrast): the two {'agree' if agree else 'disagree'}."
    )


def fed_words(fed: Fed) -> str:
    """The strongest feeder in a sentence."""
    most = fed.most
    return (
        f"By {fed.by}, head {most.feeder} feeds it most: {number(most.passed)}, {fed.times:.1f} times chance, "
        f"{'more' if most.beyond else 'no more'} than the best of {most.n} earlier heads would by random rotations; "
        f"that head's own previous-token score is {number(most.previous)}."
    )


def _draw_table(case: Case, null: float, rows: pd.DataFrame) -> None:
    help = parts.metric_help(
        f"{DEFINITION.format('X', 'X')} X: QK for Q, its transpose for K, OV for V.",
        "share",
        f"{number(null)} (1/√d_model, exact)",
    )
    config = {
        "by": st.column_config.TextColumn(help=f"Q: {READS['Q']}; K: {READS['K']}; V: {READS['V']}.", width=50),
        "composition": st.column_config.NumberColumn(format="%.3f", help=help),
        "× chance": st.column_config.NumberColumn(format="%.1f", help="Over 1/√d_model."),
        "z": st.column_config.NumberColumn(format="%.1f", help="Among the heads of the feeder's layer."),
        "previous token": st.column_config.NumberColumn(
            format="%.3f", help="The feeder's own previous-token score on random tokens."
        ),
    }
    alt = f"Heads that feed head {case.head} most, by composition"
    st.dataframe(rows, hide_index=True, height="content", column_config=config, alt=alt)
    if why := why_not_bilinear(case.model.cfg):
        st.caption(f"Q and K: not computed because {why}.")


def strongest_feeders(pairs: "dict[str, Composition]", case: Case) -> pd.DataFrame:
    """The ``MOST`` strongest feeders of each mode, with both baselines."""
    previous, rows = case.sample.scores["previous"].score.mean, []
    for mode, of in pairs.items():
        for feeder in feeders(of, case.head)[:MOST]:
            score, z = (float(values[*feeder, *case.head]) for values in (of.scores, of.z))
            row = {"by": mode, "feeder": str(feeder), "composition": score, "× chance": score / of.null, "z": z}
            rows.append(row | {"previous token": float(previous[feeder])})
    return pd.DataFrame(rows)


def previous_words(rows: pd.DataFrame, previous: "HeadScore") -> str:
    """Which of the feeders by K attend to the token before: what an induction head's keys need."""
    if "K" not in set(rows["by"]):
        return ""
    if not score_words.has_verdict(previous):
        return f"Which of them are previous-token heads cannot be said. {score_words.no_verdict(previous)}"
    line = f"above {number(previous.threshold)}"
    keys = [row for row in rows.to_dict("records") if row["by"] == "K"]
    keys = [row for row in keys if previous.above[heads.from_label(row["feeder"])]]
    if not keys:
        return f"None of those that feed its keys most is a previous-token head ({line})."
    named = ", ".join(f"{row['feeder']} ({number(row['previous token'])})" for row in keys)
    return f"Of those that feed its keys most, previous-token heads ({line}) are {named}."
