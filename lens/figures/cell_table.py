"""A table of rows by positions whose cells hold a word each, coloured by a number."""

from collections.abc import Sequence
from html import escape

import numpy as np

from lens.figures.strip import Scale, legend, shade_names, shades

# A wide table scrolls in its own window; the names of the rows stay in view.
STYLE = (
    "<style>.lens-cells{overflow:auto;max-width:100%%;max-height:44rem;position:relative}"
    ".lens-cells table{border-collapse:separate;border-spacing:1px;font:13px/1.35 'Source Code Pro',"
    "ui-monospace,monospace}"
    ".lens-cells th{font-weight:400;white-space:nowrap;padding:1px 6px;text-align:right}"
    ".lens-cells thead th{text-align:center;max-width:5.2rem;overflow:hidden;text-overflow:ellipsis}"
    ".lens-cells tbody th,.lens-cells thead th:first-child{position:sticky;left:0;background:var(--st-background-color,"
    "var(--background-color,#fff));z-index:1}"
    ".lens-cells td{width:4.6rem;min-width:3.2rem;max-width:5.2rem;overflow:hidden;text-overflow:ellipsis;"
    "white-space:pre;padding:1px 4px;text-align:center;border-radius:3px;border-bottom:2px solid transparent;"
    "box-shadow:inset 0 0 0 1px #858b9633}"
    ".lens-cells td.hit{border-bottom:2px solid}"
    ".lens-cells td.on{outline:2px solid #ff7a1a;outline-offset:-2px;font-weight:700}"
    ".lens-cells thead th.on{font-weight:700;text-decoration:underline}"
    ".lens-strip-key{font-size:13px;display:flex;flex-wrap:wrap;gap:8px;align-items:center;margin-bottom:4px}"
    ".lens-strip-key u{text-decoration:none;border-bottom:3px solid;margin-left:16px;padding:0 3px}"
    ".lens-strip-key i{display:inline-block;width:140px;height:10px;border-radius:5px}"
    "%s</style>"
)


def cell_table(
    words: Sequence[Sequence[str]],
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    scale: Scale,
    hover: Sequence[Sequence[str]],
    corner: str = "",
    marked: np.ndarray | None = None,
    selected: tuple[int, int] | None = None,
) -> str:
    """Escaped HTML: ``words[row][column]`` in cells coloured by ``values`` [row, column], the last row on top.

    ``hover``: what a cell says when the mouse rests on it. ``corner`` names the rows and columns. ``marked`` cells are
    underlined (``scale.mark`` says why), the ``selected`` one is outlined. NaN has no colour.
    """
    shape = (len(rows), len(columns))
    for name, one in (("words", words), ("values", values), ("hover", hover)):
        if (len(one), len(one[0]) if len(one) else 0) != shape:
            raise ValueError(f"cell_table: {name} of {len(one)} rows for {shape[0]} rows of {shape[1]} cells.")
    marked = np.zeros(shape, bool) if marked is None else marked
    names = shade_names(np.asarray(values).ravel(), scale)
    body = "".join(
        _row(row, rows[row], words[row], hover[row], names[row * shape[1] :], marked[row], selected)
        for row in reversed(range(shape[0]))
    )
    heads = "".join(
        f'<th scope="col"{_named("on" if selected and selected[1] == place else "")} title="{name}">{name}</th>'
        for place, name in enumerate(map(escape, columns))
    )
    head = f'<thead><tr><th scope="col">{escape(corner)}</th>{heads}</tr></thead>'
    label = escape(f"{shape[0]} rows of {shape[1]} tokens, coloured by {scale.label}")
    table = f'<table aria-label="{label}">{head}<tbody>{body}</tbody></table>'
    return f'{STYLE % shades(".lens-cells")}{legend(scale)}<div class="lens-cells">{table}</div>'


def _row(
    row: int,
    name: str,
    words: Sequence[str],
    hover: Sequence[str],
    shade: Sequence[str],
    marked: np.ndarray,
    selected: tuple[int, int] | None,
) -> str:
    cells = []
    for column, (word, title) in enumerate(zip(words, hover)):
        extra = [shade[column], "hit" if marked[column] else "", "on" if selected == (row, column) else ""]
        classes = _named(" ".join(filter(None, extra)))
        cells.append(f'<td{classes} data-at="{row},{column}" title="{escape(title)}">{escape(word)}</td>')
    return f'<tr><th scope="row">{escape(name)}</th>{"".join(cells)}</tr>'


def _named(classes: str) -> str:
    return f' class="{classes}"' if classes else ""
