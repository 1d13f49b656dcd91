"""The section that computes one cell of a head's pattern again, with every number on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import streamlit as st

from lens.analysis.answer.by_hand import cell_by_hand
from lens.analysis.names import PatternCell
from lens.figures.theme import number as written
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.outcome import Explanation, Export, Outcome, conclude
from lens.ui.pages.attention.cells import cells_box, seen_cells
from lens.ui.widgets import fold

if TYPE_CHECKING:
    from lens.analysis.answer.by_hand import CellByHand, Vector
    from lens.ui.pages.attention.cells import Followed
    from lens.ui.view import ViewState

CELL_HELP = (
    "Written query-key, both positions counted from 0. Empty: the cell with the most attention away from the first "
    "token, of the locked query where one is locked. A click on the matrix chooses it too, when 'A click on a cell' "
    "says so."
)
DIMENSIONS = 6  # of q and k that are written out
KEYS = 8  # of the row
NUMBERS = {
    name: st.column_config.NumberColumn(format=form)
    for name, form in {
        "product": "%.4f",
        "value": "%.6g",
        "exp(score − largest)": "%.6f",
        "by hand": "%.6f",
        "model": "%.6f",
    }.items()
}
POSITIONS = {
    "learned": "a row of W_pos was added to the embedding; nothing happens to q and k",
    "shortformer": "a row of W_pos is added to what q and k are made from",
    "rotary": "q and k are turned by the angles of their positions",
    "alibi": "the score falls with distance",
}
MISREADING = (
    "A score by itself says nothing: the same number added to every score of the row changes no attention, so a high "
    "score counts only against the scores of the other keys. Nor do single dimensions mean something by themselves: q "
    "and k can be turned together without changing any score."
)
FORMULA = (
    r"q = x_q W_Q + b_Q,\quad k = x_k W_K + b_K,\qquad s_{q,k} = \operatorname{cap}\!\Big(\frac{R_q q \cdot R_k k}{c}"
    r"\Big) + m\,(k - q),\qquad A_{q,k} = "
    r"\frac{e^{s_{q,k} - \max_j s_{q,j}}}{\sum_{j \le q} e^{s_{q,j} - \max_j s_{q,j}}}"
)
WHERE = (
    "x: the stream before the layer, through its norm; R: the turn of rotary positions; c: the divisor; cap(s) = "
    "t · tanh(s / t) where the model caps its scores; m: the slope of ALiBi. A model has only some of these steps, and "
    "the table shows those it has."
)


def draw(view: ViewState, of: Followed) -> None:
    """The folded section."""
    box = fold(view, "byhand", "One cell by hand: query, key, score, softmax")
    if not box.open:
        return
    with box:
        named = [PatternCell(cell.query, cell.key) for cell in seen_cells(view, "cell", of, 1)]
        cell = named[0] if named else of.strongest(view.query)
        cells_box(view, "cell", "Cell", CELL_HELP, (cell,))
        result = analyse(cell_by_hand, of.model, of.head, of.prompt.tokens, *cell)
        conclude(view, None, _show(of, result))  # the model is named under the matrix


def _show(of: Followed, result: CellByHand) -> Outcome:
    name, labels = of.name((result.query, result.key)), of.prompt.labels
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown(f"**1. Query and key**: the {DIMENSIONS} dimensions with the largest products, and the rest")
        parts.table(vectors(result), f"Entries of the query and the key of {name}, and their products", NUMBERS)
        st.markdown("**2. From their product to the score**")
        parts.table(steps(result), f"Steps from the product to the score of {name}", NUMBERS)
    with right:
        st.markdown(f"**3. Softmax over the row of query {result.query}**: its largest keys, and the rest")
        alt = f"Scores and attention of query {result.query}, by hand and as the model has it"
        parts.table(row(result, labels), alt, NUMBERS)
    html = "".join(
        frame.to_html(index=False, float_format="%.6g", na_rep="")
        for frame in (vectors(result), steps(result), row(result, labels))
    )
    explanation = Explanation(notice(of, result), MISREADING, formula=FORMULA, where=WHERE)
    payload = result._asdict() | {"q": result.q._asdict(), "k": result.k._asdict(), "tokens": labels}
    export = Export(
        "cell_by_hand", html, row(result, labels, len(labels)), payload, of.code + code(of, result), not of.code
    )
    return Outcome(explanation, export)


def vectors(of: CellByHand) -> pd.DataFrame:
    """Entries of q and k, each step that the model takes, and their products; last the rest and the sum."""
    product = of.q.final * of.k.final
    top = np.argsort(-np.abs(product), kind="stable")[:DIMENSIONS]
    columns: dict[str, list[object]] = {"dimension": [*map(str, top)]}
    for name, vector in (("q", of.q), ("k", of.k)):
        for step, values in vector_steps(name, vector).items():
            columns[step] = [f"{value:.4f}" for value in values[top]]
    columns["product"] = [*map(float, product[top])]
    frame, n_rest = pd.DataFrame(columns), len(product) - len(top)
    last = [{"dimension": "sum: q · k", "product": of.dot}]
    if n_rest:
        last.insert(0, {"dimension": f"{n_rest} others", "product": float(of.dot - product[top].sum())})
    return pd.concat([frame, pd.DataFrame(last)], ignore_index=True).fillna("")


def vector_steps(name: str, of: Vector) -> dict[str, np.ndarray]:
    """The steps of a query or key that the model takes, by their names in the table."""
    W = name.upper()
    steps = {f"{name} = x W_{W} + b_{W}": of.linear, f"{name} normed": of.normed, f"{name} turned": of.rotated}
    return {step: values for step, values in steps.items() if values is not None}


def steps(of: CellByHand) -> pd.DataFrame:
    """One row per step from q · k to the attention of the cell: how it is made, and its value."""
    score = float(of.scores[of.key])
    largest, seen = float(of.scores.max()), np.isfinite(of.scores)
    total = float(np.exp(of.scores[seen] - largest).sum())
    rows = [("q · k", "sum of the products", of.dot)]
    rows.append((f"divided by {of.divisor:g}", "the model's divisor of scores", of.scaled))
    if of.softcap is not None:
        rows.append((f"capped at ± {of.softcap:g}", f"{of.softcap:g} · tanh(score / {of.softcap:g})", of.capped))
    if of.positions == "alibi":
        rows.append(("ALiBi", f"slope · (key − query), {of.key - of.query} tokens", of.bias))
    rows.append(("score", "what enters the softmax", score))
    hidden = len(of.scores) - int(seen.sum())
    rows.append(("mask", f"keys with score −∞: {hidden} of {len(of.scores)}", float(hidden)))
    rows.append(("exp(score − largest)", f"largest of the row: {written(largest)}", float(np.exp(score - largest))))
    rows.append(("sum over the row", f"of {int(seen.sum())} keys", total))
    rows.append(("attention by hand", "exp(score − largest) / sum", float(of.attention[of.key])))
    rows.append(("the model's own", f"hook_pattern of layer {of.head.layer}", float(of.actual[of.key])))
    rows.append(("largest difference", "between the two, over the whole row", of.difference))
    return pd.DataFrame(rows, columns=["step", "how", "value"])[["step", "value", "how"]]


def row(of: CellByHand, labels: list[str], most: int = KEYS) -> pd.DataFrame:
    """Scores and attention of the keys with the most attention, the cell's own among them, and of the rest together."""
    seen = np.flatnonzero(np.isfinite(of.scores))
    order = sorted(seen, key=lambda key: (key != of.key, -of.attention[key]))
    top = sorted(order[:most], key=lambda key: -of.attention[key])
    weights = np.exp(of.scores - of.scores[seen].max())
    rows = [
        {"key": f"{key}: {labels[key]}", "score": f"{of.scores[key]:.4f}", "exp(score − largest)": float(weights[key]),
         "by hand": float(of.attention[key]), "model": float(of.actual[key])}
        for key in top
    ]  # fmt: skip
    rest = order[most:]
    if rest:
        sums = (float(values[rest].sum()) for values in (weights, of.attention, of.actual))
        rows.append(
            {"key": f"{len(rest)} others", "score": ""} | dict(zip(("exp(score − largest)", "by hand", "model"), sums))
        )
    return pd.DataFrame(rows)


def notice(of: Followed, result: CellByHand) -> str:
    """What came out, how it compares with the model, and what the score is against the row."""
    by_hand, actual = float(result.attention[result.key]), float(result.actual[result.key])
    seen = np.isfinite(result.scores)
    score, others = float(result.scores[result.key]), int((result.scores > result.scores[result.key]).sum())
    rank = "the largest" if not others else f"{others} {'is' if others == 1 else 'are'} larger"
    return (
        f"By hand, {of.name((result.query, result.key))} of head {result.head} is {by_hand:.6f}; the model's own "
        f"number is {actual:.6f}. The largest difference in the row is {result.difference:.1e}. Its score, "
        f"{written(score)}, is one of {int(seen.sum())} of this query ({rank}). Positions: "
        f"{POSITIONS[result.positions]}."
    )


def code(of: Followed, result: CellByHand) -> str:
    """The Python that computes the cell."""
    layer, head = result.head
    return (
        "from lens.analysis.answer.by_hand import cell_by_hand\n\n"
        f"cell = cell_by_hand(model, ({layer}, {head}), tokens[:, :{len(of.prompt.labels)}], "
        f"query={result.query}, key={result.key})\n"
        "print(cell.dot, cell.divisor, cell.scaled, cell.capped, cell.bias)\n"
        "print(float(cell.attention[cell.key]), float(cell.actual[cell.key]), cell.difference)"
    )
