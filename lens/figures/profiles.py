"""Where a few heads stand among all, in every instrument: parallel coordinates."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from lens.figures.drawn import drawn
from lens.figures.grid import Cell
from lens.figures.theme import LABEL_SIZE, base_layout, escape, head_colours, number

HEIGHT = 300  # pixels of the plot
DEFINITION = "Up: share of the other heads that it stands out from; 1: first of all. A gap: no number."


@drawn
def profiles(
    heads: Sequence[Cell],
    place: np.ndarray,
    value: np.ndarray,
    above: np.ndarray,
    instruments: Sequence[str],
    *,
    title: str,
) -> go.Figure:
    """``place``, ``value`` and ``above`` are [head, instrument]; a full point is beyond chance, an open one is not."""
    shape = (len(heads), len(instruments))
    for name, array in (("place", place), ("value", value), ("above", above)):
        if np.shape(array) != shape:
            raise ValueError(f"profiles: {name} of shape {np.shape(array)}; wanted {shape}, heads and instruments.")
    figure = go.Figure(layout=_layout(title))
    for row, (head, colour) in enumerate(zip(heads, head_colours(heads))):
        name = f"{head[0]}.{head[1]}"
        chance = [": beyond chance" if beyond else "" for beyond in above[row]]
        texts = [
            f"<b>{name}</b> · {escape(instrument)}<br>{number(x)}{beyond}"
            for instrument, x, beyond in zip(instruments, value[row], chance)
        ]
        symbols = ["circle" if beyond else "circle-open" for beyond in above[row]]
        figure.add_trace(
            go.Scatter(
                x=[escape(instrument) for instrument in instruments],
                y=place[row],
                name=name,
                mode="lines+markers",
                line={"color": colour, "width": 1.5},
                marker={"symbol": symbols, "size": 9},
                hovertext=texts,
                hovertemplate="%{hovertext}<extra></extra>",
            )
        )
    return figure.update_layout(showlegend=len(heads) > 1)


def _layout(title: str) -> dict:
    layout = base_layout(title, DEFINITION, height=HEIGHT)
    return layout | {
        "hovermode": "closest",
        "dragmode": False,
        "legend": {"x": 1.01, "xanchor": "left", "y": 1, "yanchor": "top"},
        "xaxis": {"type": "category", "tickangle": -45, "tickfont": {"size": LABEL_SIZE}, "automargin": True},
        "yaxis": {"range": [-0.05, 1.05], "tickvals": [0, 0.5, 1], "tickfont": {"size": LABEL_SIZE}, "zeroline": False},
    }
