"""A text as a strip of tokens, each coloured by a number."""

from collections.abc import Collection, Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from lens.figures.theme import number, translucent

POSITIVE, NEGATIVE = "#0c84fa", "#dc7d0c"
# Under the page's own text colour, light or dark, this much colour keeps a text contrast of at least 4.5:1.
STRONGEST = 0.6
LEVELS = 20

STYLE = (
    "<style>.lens-strip{font:15px/1.35 'Source Code Pro',ui-monospace,monospace;overflow-wrap:anywhere}"
    ".lens-strip b{display:inline-block;max-width:100%%;font-weight:400;padding:2px 2px 1px;margin:0 1px 6px 0;"
    "border-bottom:3px solid transparent;border-radius:4px;white-space:pre-wrap;box-shadow:inset 0 -1px 0 #858b9655}"
    ".lens-strip b.on{outline:2px solid #ff7a1a;outline-offset:-1px;font-weight:700}"
    ".lens-strip b.hit,.lens-strip-key u{text-decoration:none;border-bottom:3px solid}"
    ".lens-strip-key{font-size:13px;display:flex;flex-wrap:wrap;gap:8px;align-items:center;margin-bottom:4px}"
    ".lens-strip-key u{margin-left:16px;padding:0 3px}"
    ".lens-strip-key i{display:inline-block;width:140px;height:10px;border-radius:5px}"
    "%s</style>"
)


class Scale(NamedTuple):
    """What the colour of a token means. Signed: from -high (orange) over 0 (none) to high (blue); else low to high."""

    label: str  # the quantity with its unit: "loss (nats)"
    low: float = 0.0
    high: float = 1.0
    signed: bool = False
    ends: tuple[str, str] | None = None  # words at both ends of the legend where low and high are not for reading
    mark: str = ""  # what the underline of marked tokens means
    legend: bool = True  # whether the strip has one; of several strips on one scale the first is enough


PLAIN = Scale("value")


def token_strip(
    tokens: Sequence[str],
    values: np.ndarray | None = None,
    *,
    scale: Scale = PLAIN,
    hover: Sequence[str] | None = None,
    selected: Collection[int] = (),
    marked: Collection[int] = (),
) -> str:
    """Escaped HTML for ``st.html``: the tokens in reading order, each with its value as colour and hover title.

    ``values`` [pos], NaN = no colour; ``hover`` replaces the hover titles; ``selected`` positions are outlined,
    ``marked`` ones underlined (``scale.mark`` says why). Make spaces and line ends visible before: labels are shown as
    they are.
    """
    _check(tokens, values, hover)
    classes = [""] * len(tokens) if values is None else shade_names(values, scale)
    titles = hover if hover is not None else _titles(values, scale, len(tokens))
    extra = [("on", set(selected)), ("hit", set(marked))]
    names = [
        " ".join([name, *(word for word, where in extra if position in where)]) for position, name in enumerate(classes)
    ]
    parts = [
        f'<b class="{name}" title="{escape(title)}">{escape(token)}</b>'
        if name
        else f'<b title="{escape(title)}">{escape(token)}</b>'
        for token, name, title in zip(tokens, (name.strip() for name in names), titles)
    ]
    label = f"{len(tokens)} tokens" + (f", coloured by {scale.label}" if values is not None else "")
    key = legend(scale) if values is not None and scale.legend else ""
    body = "".join(parts)
    return f'{_style()}{key}<div class="lens-strip" role="group" aria-label="{escape(label)}">{body}</div>'


def _check(tokens: Sequence[str], values: np.ndarray | None, hover: Sequence[str] | None) -> None:
    for name, other in (("values", values), ("hover titles", hover)):
        if other is not None and len(other) != len(tokens):
            raise ValueError(f"{len(other)} {name} for {len(tokens)} tokens; give one per token.")


def _style() -> str:
    return STYLE % shades(".lens-strip")


def shades(inside: str) -> str:
    """The CSS of the names that ``shade_names`` gives, for elements inside of what a selector names."""
    steps = range(1, LEVELS + 1)
    blue = "".join(f"{inside} .p{k}{{background:{translucent(POSITIVE, STRONGEST * k / LEVELS)}}}" for k in steps)
    orange = "".join(f"{inside} .n{k}{{background:{translucent(NEGATIVE, STRONGEST * k / LEVELS)}}}" for k in steps)
    return blue + orange


def shade_names(values: np.ndarray, scale: Scale) -> list[str]:
    """Class of each value: p1..p20 towards high, n1..n20 towards -high, "" for none and for NaN."""
    values = np.asarray(values, np.float64)
    low = 0.0 if scale.signed else scale.low
    span = (scale.high - low) or 1.0
    level = np.nan_to_num(np.clip((values - low) / span, -1 if scale.signed else 0, 1))
    steps = np.round(LEVELS * level).astype(int).tolist()
    return [f"p{step}" if step > 0 else f"n{-step}" if step < 0 else "" for step in steps]


def _titles(values: np.ndarray | None, scale: Scale, size: int) -> list[str]:
    if values is None:
        return [f"position {position}" for position in range(size)]
    return [f"position {position} · {scale.label} {number(value)}" for position, value in enumerate(values)]


def legend(scale: Scale) -> str:
    """What the colours mean, as HTML: the quantity, both ends, and the underline."""
    first = translucent(NEGATIVE, STRONGEST) if scale.signed else translucent(POSITIVE, 0)
    middle = f"{translucent(POSITIVE, 0)}," if scale.signed else ""
    gradient = f"linear-gradient(90deg,{first},{middle}{translucent(POSITIVE, STRONGEST)})"
    low, high = scale.ends or (number(-scale.high if scale.signed else scale.low), number(scale.high))
    mark = f"<u aria-hidden='true'>a</u><span>{escape(scale.mark)}</span>" if scale.mark else ""
    return (
        f'<div class="lens-strip-key"><span>{escape(scale.label)}</span><span>{escape(low)}</span>'
        f'<i style="background:{gradient}" aria-hidden="true"></i><span>{escape(high)}</span>{mark}</div>'
    )
