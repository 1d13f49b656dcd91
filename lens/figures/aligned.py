"""Several texts token under token: ids or mask below, padding visible."""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

STYLE = (
    "<style>.lens-aligned{overflow-x:auto;max-width:100%}.lens-aligned table{border-collapse:separate;"
    "border-spacing:2px;font:15px/1.7 'Source Code Pro',ui-monospace,monospace}"
    ".lens-aligned th{font-weight:600;text-align:left;padding:0 10px 0 0;white-space:nowrap}"
    ".lens-aligned td{padding:1px 5px;border-radius:4px;text-align:center;white-space:pre;background:#0c84fa33}"
    ".lens-aligned td.pad{background:repeating-linear-gradient(45deg,#858b9655 0 4px,transparent 4px 8px)}"
    ".lens-aligned .below td,.lens-aligned .below th{background:none;font-size:13px;padding-bottom:8px}"
    ".lens-aligned .place td,.lens-aligned .place th{background:none;font-size:12px;opacity:.75}</style>"
)


class Row(NamedTuple):
    """One text: its labels, what stands under each, and where they are real tokens (all of them if not given)."""

    name: str
    labels: Sequence[str]
    below: Sequence[str]
    below_name: str  # what ``below`` is: "mask", "id"
    real: Sequence[bool] | None = None


def aligned(rows: Sequence[Row], what: str) -> str:
    """Escaped HTML for ``st.html``: a table with a column per place, and for each text its tokens over its ``below``.

    ``what`` names the table for screen readers. Pads are hatched, so that colour is never alone.
    """
    for row in rows:
        sizes = {len(row.labels), len(row.below), len(row.labels if row.real is None else row.real)}
        if len(sizes) > 1:
            raise ValueError(f"{row.name}: labels, {row.below_name} and real places differ in number: {sorted(sizes)}.")
    places = "".join(f"<td>{place}</td>" for place in range(max(len(row.labels) for row in rows)))
    body = "".join(_text(row) + _below(row) for row in rows)
    head = f'<tr class="place"><th scope="row">place</th>{places}</tr>'
    region = f'<div class="lens-aligned" tabindex="0" role="region" aria-label="{escape(what, quote=True)}">'
    return f"{STYLE}{region}<table>{head}{body}</table></div>"


def _text(row: Row) -> str:
    real = [True] * len(row.labels) if row.real is None else row.real
    cells = "".join(
        f"<td>{escape(label)}</td>" if is_real else f'<td class="pad">{escape(label)}</td>'
        for label, is_real in zip(row.labels, real)
    )
    return f'<tr><th scope="row">{escape(row.name)}</th>{cells}</tr>'


def _below(row: Row) -> str:
    cells = "".join(f"<td>{escape(text)}</td>" for text in row.below)
    return f'<tr class="below"><th scope="row">{escape(row.below_name)}</th>{cells}</tr>'
