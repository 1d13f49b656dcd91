"""Parts of a number as bars: each from zero, or each from where the last one ended, down to the number itself."""

from collections.abc import Sequence
from typing import NamedTuple

import plotly.graph_objects as go

from lens.figures.drawn import drawn
from lens.figures.theme import CATEGORICAL, LABEL_SIZE, NEUTRAL, PIN, base_layout, escape, number, shorten, whiskers

ROW = 22  # pixels
CHARACTER = 0.045  # of the axis, for each character of a number beside a bar: on a telephone, too
UP, DOWN = CATEGORICAL[:2]


class Bar(NamedTuple):
    """One part. ``whole``: the number that the parts before it sum to. ``beside``: the same part of the control."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None
    beside: float | None = None
    whole: bool = False
    marked: bool = False


@drawn
def bars(
    rows: Sequence[Bar],
    unit: str,
    *,
    title: str,
    definition: str = "",
    running: bool = False,
    beside: str = "control",
) -> go.Figure:
    """A bar per part from the top, blue where it adds and orange where it takes away, with its interval.

    ``running``: a waterfall, in which each bar starts where the last one ended; a ``whole`` starts at zero.
    ``beside`` names the grey diamonds.
    """
    if not rows:
        raise ValueError("bars: no parts; give at least one.")
    starts, at = [], 0.0
    for row in rows:
        starts.append(at if running and not row.whole else 0.0)
        at = starts[-1] + row.value
    span = _span(rows, starts)
    figure = go.Figure(layout=_layout(rows, unit, title, definition) | {"xaxis_range": span})
    moved = [_is_covered(row, span) and not running for row in rows]
    figure.add_trace(_parts(rows, starts, unit, running, beside, moved))
    if running:
        figure.add_trace(_links(rows, starts))
    known = [(place, row) for place, row in enumerate(rows) if row.beside is not None]
    if known:
        figure.add_trace(
            go.Scatter(
                name=beside,
                x=[row.beside for _, row in known],
                y=[place for place, _ in known],
                mode="markers+text",
                text=[f" {number(row.value)} " if moved[place] else "" for place, row in known],
                textposition=["middle right" if row.value >= 0 else "middle left" for _, row in known],
                cliponaxis=False,
                marker={"color": NEUTRAL, "size": 8, "symbol": "diamond", "line": {"width": 1, "color": "white"}},
                hoverinfo="skip",
            )
        )
    return figure


def _is_covered(row: Bar, span: Sequence[float]) -> bool:
    """Whether the number at the end of the bar would stand under the diamond: then it stands behind that."""
    if row.beside is None or row.low is not None:
        return False
    past = row.beside - row.value if row.value >= 0 else row.value - row.beside
    return 0 < past < 0.16 * (span[1] - span[0])


def _parts(
    rows: Sequence[Bar], starts: Sequence[float], unit: str, running: bool, beside: str, moved: Sequence[bool]
) -> go.Bar:
    colours = [NEUTRAL if row.whole else UP if row.value >= 0 else DOWN for row in rows]
    bounded = any(row.low is not None for row in rows)
    error = whiskers([row.value for row in rows], [row.low for row in rows], [row.high for row in rows])
    texts = ["" if away else f"  {number(row.value)}  " for row, away in zip(rows, moved)]
    return go.Bar(
        name="part",
        x=[row.value for row in rows],
        y=list(range(len(rows))),
        base=list(starts),
        orientation="h",
        width=0.72,
        marker={
            "color": colours,
            "line": {"width": [2 if row.marked else 0 for row in rows], "color": PIN},
        },
        error_x=error if bounded and not running else None,
        text=None if bounded and not running else texts,
        textposition="outside",
        cliponaxis=False,
        hovertext=[_hover(row, unit, beside) for row in rows],
        hovertemplate="%{hovertext}<extra></extra>",
    )


def _hover(row: Bar, unit: str, beside: str) -> str:
    interval = "" if row.low is None or row.high is None else f" [{number(row.low)}, {number(row.high)}]"
    other = "" if row.beside is None else f"<br>{escape(beside)} {number(row.beside)}"
    return f"<b>{escape(row.label)}</b><br>{number(row.value)}{interval} {escape(unit)}{other}"


def _links(rows: Sequence[Bar], starts: Sequence[float]) -> go.Scatter:
    """Thin lines from the end of each bar to the start of the next, which say that the parts sum up."""
    x, y = [], []
    for place, (row, start) in enumerate(zip(rows[:-1], starts)):
        end = start + row.value
        x += [end, end, None]
        y += [place - 0.36, place + 1.36, None]
    return go.Scatter(x=x, y=y, mode="lines", line={"color": NEUTRAL, "width": 1}, hoverinfo="skip")


def _layout(rows: Sequence[Bar], unit: str, title: str, definition: str) -> dict:
    return base_layout(title, definition, height=ROW * len(rows) + 14) | {
        "hovermode": "closest",
        "dragmode": False,
        "xaxis": {
            "title": {"text": escape(unit), "standoff": 4},
            "zeroline": True,
            "zerolinecolor": NEUTRAL,
            "tickfont": {"size": LABEL_SIZE},
            "automargin": True,
        },
        "yaxis": {
            "tickvals": list(range(len(rows))),
            "ticktext": [f"{_bold(row)} " for row in rows],
            "tickfont": {"size": LABEL_SIZE + 1},
            "range": [len(rows) - 0.4, -0.6],
            "showgrid": False,
            "zeroline": False,
            "automargin": True,
        },
    }


def _span(rows: Sequence[Bar], starts: Sequence[float]) -> list[float]:
    """The axis, with room for the numbers beside the bars, also of one that falls back to zero."""
    ends = [0.0, *starts, *(start + row.value for row, start in zip(rows, starts))]
    ends += [end for row in rows for end in (row.low, row.high, row.beside) if end is not None]
    longest = max(len(number(row.value)) for row in rows)
    share = 0.16 if any(row.low is not None for row in rows) else max(0.16, CHARACTER * longest)
    room = share * ((max(ends) - min(ends)) or 1.0)
    falls = any(start > 0 > row.value and start + row.value < room for row, start in zip(rows, starts))
    return [min(ends) - room * (min(ends) < 0 or falls), max(ends) + room]


def _bold(row: Bar) -> str:
    label = escape(shorten(row.label, 26))
    return f"<b>{label}</b>" if row.whole or row.marked else label
