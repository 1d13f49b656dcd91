"""A figure as text, to keep it, and the figure again."""

import json
from typing import Any

import plotly.graph_objects as go
from plotly.io.json import to_json_plotly

from lens.figures.drawn import drawn

ELSEWHERE = ("template", "meta")  # of its layout: what the page it stands on gives, and what is not drawn


def written(figure: go.Figure) -> str:
    """Plotly's JSON of a figure without the colours of a page."""
    spec: dict[str, Any] = json.loads(to_json_plotly(figure.to_dict()))
    spec["layout"] = {name: value for name, value in spec["layout"].items() if name not in ELSEWHERE}
    return json.dumps(spec, separators=(",", ":"), ensure_ascii=False, sort_keys=True)


@drawn
def restored(text: str) -> go.Figure:
    """The figure that ``written`` wrote."""
    spec = json.loads(text)
    layout = {name: value for name, value in spec.get("layout", {}).items() if name not in ELSEWHERE}
    return go.Figure(spec["data"], layout, spec.get("frames"))
