"""What is sent of a figure: the same drawing and the same hover labels, in fewer bytes.

The figure itself stays as it is, for exports and tests. Whole numbers take the fewest bytes that hold them; hover
labels that differ in a few words share a template. A figure with very many numbers has a shorter form of its own. No
label changes by a character.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from _plotly_utils.utils import convert_to_base64

Spec = dict[str, Any]

INTEGERS = (np.uint8, np.int8, np.uint16, np.int16, np.int32)
POINTS = ("x", "y", "customdata", "text", "hovertext")  # what a trace of points has one of for each
PIECES = re.compile(r"(<[^>]*>|\s+|[\[\],])")  # hover labels are cut into tags, words and numbers
FEW = 20  # labels that need no template
MOST_FORMS = 8  # traces that the points of one are divided into, by the form of their labels
OVERHEAD = 400  # bytes of a trace beside its points


def encode(spec: Spec) -> Spec:
    """``spec`` with its arrays as plotly.js reads them, in place."""
    convert_to_base64(spec)
    return spec


def short_form(figure: go.Figure) -> Spec:
    """``figure`` as a dictionary, in a shorter form that shows the same."""
    spec = {"layout": figure.layout.to_plotly_json()}
    spec["data"] = [part for trace in figure.data for part in _in_forms(trace.to_plotly_json())]
    template, kinds = spec["layout"]["template"], {trace["type"] for trace in spec["data"]}
    template["data"] = {kind: defaults for kind, defaults in template.get("data", {}).items() if kind in kinds}
    if figure.frames:
        spec["frames"] = [frame.to_plotly_json() for frame in figure.frames]
    for trace in spec["data"]:
        for name in ("x", "y", "customdata"):
            if isinstance(trace.get(name), np.ndarray):
                trace[name] = narrow(trace[name])
    return spec


def narrow(values: np.ndarray) -> np.ndarray:
    """The same numbers in as few bytes: whole ones as integers, others as float32, in which figures are drawn."""
    if values.dtype.kind not in "iuf" or values.size == 0:
        return values
    if np.isfinite(values).all() and (values == np.rint(values)).all():
        for dtype in INTEGERS:
            if np.iinfo(dtype).min <= values.min() and values.max() <= np.iinfo(dtype).max:
                return values.astype(dtype)
    return values.astype(np.float32) if values.dtype == np.float64 else values


def _in_forms(trace: Spec) -> list[Spec]:
    """The trace, or a trace for each form that its hover labels have, if that is shorter.

    Labels have one form if they are cut into as many pieces; what all of a form share becomes its template, and what
    differs stands in ``customdata``, behind what was there.
    """
    for name in ("text", "hovertext"):
        texts = trace.get(name)
        if f"%{{{name}}}" not in (trace.get("hovertemplate") or "") or isinstance(texts, str) or len(texts) < FEW:
            continue
        if name == "text" and "text" in trace.get("mode", "markers"):  # it is drawn, too
            continue
        cut = [PIECES.split(text) for text in texts]
        forms: dict[int, list[int]] = {}
        for place, pieces in enumerate(cut):
            forms.setdefault(len(pieces), []).append(place)
        parts = [_with_template(trace, name, places, [cut[place] for place in places]) for places in forms.values()]
        if len(forms) <= MOST_FORMS and sum(map(_size, parts)) < _size(trace):
            return _one_in_the_legend(parts)
    return [trace]


def _one_in_the_legend(parts: list[Spec]) -> list[Spec]:
    """The parts of one trace, which the legend names once, and shows and hides together."""
    if parts[0].get("showlegend") is False or not parts[0].get("name"):
        return parts
    parts[0].setdefault("legendgroup", parts[0]["name"])
    return [parts[0], *({**part, "legendgroup": parts[0]["legendgroup"], "showlegend": False} for part in parts[1:])]


def _with_template(trace: Spec, name: str, places: list[int], cut: list[list[str]]) -> Spec:
    """Some points of a trace; ``cut`` are their labels in pieces, as many for each."""
    own = trace.get("customdata")
    first = 0 if own is None else np.shape(own)[1]
    template, columns = "", [] if own is None else list(np.asarray(own)[places].T.tolist())
    for pieces in zip(*cut):
        if len(set(pieces)) == 1:
            template += pieces[0]
        else:
            template += f"%{{customdata[{len(columns)}]}}"
            columns.append(
                [int(piece) if piece.isdecimal() and str(int(piece)) == piece else piece for piece in pieces]
            )
    part = _some({key: value for key, value in trace.items() if key != name}, places, len(trace[name]))
    if len(columns) > first:
        part["customdata"] = [list(row) for row in zip(*columns)]
    part["hovertemplate"] = trace["hovertemplate"].replace(f"%{{{name}}}", template)
    return part


def _some(values: Any, places: list[int], n: int) -> Any:
    """Of all that there is one of for each of ``n`` points, those at ``places``."""
    if isinstance(values, dict):
        return {key: _some(value, places, n) for key, value in values.items()}
    if isinstance(values, (list, tuple, np.ndarray)) and len(values) == n:
        return values[places] if isinstance(values, np.ndarray) else [values[place] for place in places]
    return values


def _size(trace: Spec) -> int:
    """About how many bytes a trace takes."""
    lists = [value for name in POINTS if (value := trace.get(name)) is not None and not isinstance(value, str)]
    return OVERHEAD + sum(4 * one.size if _is_numbers(one) else len(str(list(one))) for one in lists)


def _is_numbers(values: Any) -> bool:
    return isinstance(values, np.ndarray) and values.dtype.kind in "iuf"


def round_numbers(largest: float, most: int = 5) -> Sequence[float]:
    """At most about ``most`` round numbers from 0 to ``largest``."""
    power = 10.0 ** np.floor(np.log10(largest / most))
    step = next(float(step * power) for step in (1, 2, 5, 10) if step * power >= largest / most)
    return [round(step * i, 6) for i in range(int(largest / step + 1e-9) + 1)]
