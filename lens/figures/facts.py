"""Tables for reading: facts with what they mean, and checks with their verdicts. Escaped HTML for ``st.html``."""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

STYLE = (
    "<style>.lens-facts{border-collapse:collapse;width:100%;font-size:0.88rem;line-height:1.35}"
    ".lens-facts caption{text-align:left;font-size:0.72rem;font-weight:600;letter-spacing:0.06em;opacity:0.65;"
    "text-transform:uppercase;padding:0.5rem 0 0.15rem}"
    ".lens-facts th,.lens-facts td{text-align:left;font-weight:400;vertical-align:top;padding:0.16rem 0.8rem 0.16rem 0;"
    "border-top:1px solid #858b9633}"
    ".lens-facts th{white-space:nowrap;font-family:'Source Code Pro',ui-monospace,monospace;font-size:0.84rem}"
    ".lens-facts .value{font-weight:600;overflow-wrap:break-word;font-variant-numeric:tabular-nums}"
    ".lens-facts .mean{opacity:0.75}.lens-facts .number{text-align:right;white-space:nowrap;"
    "font-variant-numeric:tabular-nums}"
    ".lens-facts .state{white-space:nowrap;font-weight:600}.lens-facts .state::before{content:'';display:inline-block;"
    "width:0.62rem;height:0.62rem;margin-right:0.45rem;border-radius:50%;background:#858b96}"
    ".lens-facts .state:empty::before{display:none}"
    ".lens-facts .good .state::before{background:#2f9e62}.lens-facts .bad .state::before{background:#d3352f;"
    "border-radius:0}.lens-facts .part .state::before{background:#c98a1b;border-radius:2px}"
    ".lens-facts .bad .value{color:#d3352f}"
    # The name of a file is wider than a phone.
    "@media(max-width:900px){.lens-facts .value,.lens-facts .mean{overflow-wrap:anywhere}}</style>"
)


class Fact(NamedTuple):
    """A name, its value and what it means."""

    name: str
    value: str
    meaning: str = ""


class Verdict(NamedTuple):
    """A claim and how it came out. ``state``: "good", "bad", "part" or "none"; ``word`` says it."""

    name: str
    state: str
    word: str
    text: str
    detail: str = ""


def facts(rows: Sequence[Fact], caption: str) -> str:
    """A table of names, values and meanings; the meaning is the tooltip of the row, too."""
    body = "".join(
        f'<tr title="{escape(row.meaning)}"><th scope="row">{escape(row.name)}</th>'
        f'<td class="value">{escape(row.value)}</td><td class="mean">{escape(row.meaning)}</td></tr>'
        for row in rows
    )
    return f'{STYLE}<table class="lens-facts"><caption>{escape(caption)}</caption><tbody>{body}</tbody></table>'


def verdicts(rows: Sequence[Verdict], caption: str) -> str:
    """A table of claims with a coloured mark and a word for each outcome, so that colour is not needed to read it."""
    body = "".join(
        f'<tr class="{row.state}"><th scope="row">{escape(row.name)}</th><td class="state">{escape(row.word)}</td>'
        f'<td class="value">{escape(row.text)}</td><td class="mean">{escape(row.detail)}</td></tr>'
        for row in rows
    )
    return f'{STYLE}<table class="lens-facts"><caption>{escape(caption)}</caption><tbody>{body}</tbody></table>'


def size(n_bytes: float) -> str:
    """Bytes for reading, in powers of ten: "539 MB", "1.2 GB"."""
    power = next((power for power in (0, 1, 2) if abs(n_bytes) < 999.5 * 1000**power), 3)
    scaled, unit = n_bytes / 1000**power, ("B", "kB", "MB", "GB")[power]
    return f"{scaled:,.0f} {unit}" if power == 0 or abs(scaled) >= 100 else f"{scaled:.1f} {unit}"
