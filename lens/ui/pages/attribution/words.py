"""What the page says: definitions, and sentences made from the numbers."""

import numpy as np
import pandas as pd

from lens.analysis.answer.direct_attribution import DRAWS
from lens.figures.theme import number
from lens.ui.pages.attribution.request import Parts, Request
from lens.ui.shared.reasons import write_label
from lens.ui.shared.wording import capital, signed

MISREADING = (
    "A part is what a component adds by itself, straight to the output. What it does through later components is in "
    "their parts, and what the model would lose without it is another question: others may take over. Ablation asks "
    "that. A large negative part is no error either: some heads hold back what others push too far."
)
FORMULA = (
    r"m = \sum_i \frac{x_i - \bar x_i}{\sigma} \cdot (\gamma \odot \Delta) + \beta \cdot \Delta + \Delta b_U, \qquad "
    r"\Delta = W_U[:, a] - W_U[:, b]"
)
WHERE = (
    "x_i is what one component wrote at that position, x̄ its mean (LayerNorm; RMSNorm takes out none), σ the scale of "
    "the final norm as it was in this run, γ and β its gain and bias. a and b are the two tokens; of one logit Δ is "
    "its column of W_U (folded: minus the mean column); of a log-probability a's column minus the expected one, and "
    "the entropy stands apart. b_O and the constant part of the values belong to no head. A cap on the logits has a "
    "bar of its own. A head's part is split over its sources: A[q, k] times what the value at k adds. Source: Elhage "
    "et al. 2021."
)
PLURALS = {"head": "heads", "mlp": "MLPs"}
DEFINITION = "What each part adds by itself, at the scale of this run; together they are the model's own number."
LEAST = 12  # parts with a bar of their own


def notice(request: Request, found: Parts) -> tuple[str, ...]:
    """The number, who makes it, what is beyond chance, and where the chosen head takes it from."""
    parts, writes = np.asarray(found.of.parts)[0], found.of.writes
    value, remainder = float(found.of.value[0]), float(np.asarray(found.of.remainder)[0])
    sums = {kind: sum(float(parts[at]) for at, w in enumerate(writes) if w.kind == kind) for kind in ("head", "mlp")}
    order = np.argsort(-np.abs(parts), kind="stable")[:3]
    largest = ", ".join(f"{write_label(writes[at])} {signed(float(parts[at]))}" for at in order)
    mlps = "" if request.model.cfg.attn_only else f", MLPs {signed(sums['mlp'])}"
    where = f"{request.at} {request.prompt.labels[request.at].strip()}"
    first = (
        f"{capital(request.name)} after {where}: {number(value)} {request.unit}. All heads add {signed(sums['head'])}"
        f"{mlps}; the largest parts are {largest}. The parts sum to the model's own number: "
        f"{number(remainder)} is left."
    )
    return first, chance_words(found), source_words(request, found)


def chance_words(found: Parts) -> str:
    """How many heads, and how many MLPs, do more than any of them does for a random token."""
    said = []
    for kind, threshold in found.thresholds.items():
        of_kind = [(w, abs(part)) for w, part in zip(found.of.writes, np.asarray(found.of.parts)[0]) if w.kind == kind]
        beyond = [write_label(write) for write, part in of_kind if part > threshold]
        names = f" ({', '.join(beyond[:6])}{' …' if len(beyond) > 6 else ''})" if beyond else ""
        said.append(f"{len(beyond)} of {len(of_kind)} {PLURALS[kind]}{names} more than {number(threshold)}")
    return (
        f"Beyond what the largest of its kind does for a token drawn at random (95% of {DRAWS}): {'; '.join(said)}, "
        "either way."
    )


def source_words(request: Request, found: Parts) -> str:
    """Which tokens the chosen head takes its part from."""
    parts, labels = np.asarray(found.split.parts)[0], request.prompt.labels
    total = float(parts.sum())
    keys = np.argsort(-np.abs(parts), kind="stable")[:2]
    named = " and ".join(f"{key} {labels[key].strip()} ({signed(float(parts[key]))})" for key in keys if parts[key])
    if not named:
        return f"Head {found.head} adds nothing here."
    return f"Head {found.head} adds {signed(total)}, most of it from {named}."


def sample_words(request: Request, found: Parts, seed: int) -> str:
    """n, null and why there is no interval."""
    return (
        f"n = 1 prompt, so there is no interval: the tab over many prompts has one. Null: {DRAWS} tokens drawn at "
        f"random (seed {seed}) asked about in the place of the answer in the same run; hatched heads stay within "
        f"±{number(found.thresholds['head'])}, the 95th percentile of the largest of all heads. "
        "The likeliest token was picked for its high logit: some parts beyond this are to be expected for it."
    )


def table(request: Request, found: Parts) -> pd.DataFrame:
    """One row per part, in the order of the forward pass, and the remainder."""
    null = np.asarray(found.null.parts)
    rows = [
        {"part": str(write), "kind": write.kind, "value": float(part), "by chance low": float(low), "high": float(high)}
        for write, part, low, high in zip(
            found.of.writes, np.asarray(found.of.parts)[0], *np.percentile(null, [2.5, 97.5], axis=0)
        )
    ]
    rows.append({"part": "remainder", "kind": "remainder", "value": float(np.asarray(found.of.remainder)[0])})
    return pd.DataFrame(rows)
