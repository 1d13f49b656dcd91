"""Writing findings: the file that is read again, one page that opens anywhere, a notebook."""

import html
import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lens.findings.finding import FORMAT, VERSION, Finding, Findings
from lens.findings.safe import clean

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

STEM = "Findings"  # the title of those without one
HOW_TO_RUN = "Each code cell computes the numbers of its view again. It needs Lens: `pip install -e .` in its folder."
# Whatever a text in it says, the page fetches nothing.
SEAL = (
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; img-src data: blob:; font-src data:; form-action 'none'; base-uri 'none'\">"
)
STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;color:#1a2330;"
    "background:#fff}article{border-top:1px solid #d5dbe3;padding:1.2rem 0}h1{font-size:1.6rem}h2{font-size:1.15rem}"
    "p{white-space:pre-wrap;overflow-wrap:anywhere}.source{font-size:.85rem;color:#55606e}a{color:#1f5fa8}"
    ".view{position:relative;contain:paint;overflow:auto;max-height:40rem}pre{overflow:auto;background:#f4f6f8;padding:.8rem;font-size:.82rem}"
)
MARKS = re.compile(r"([\\`*_{}\[\]()#+\-.!|~$=:])")  # what Markdown reads


def write_findings(findings: Findings) -> str:
    """The file; ``read_findings`` reads it back."""
    items = [
        {name: json.loads(part) if name == "figure" else part for name, part in one._asdict().items() if part or
         name in ("page", "view")}
        for one in findings.items
    ]  # fmt: skip
    whole = {"format": FORMAT, "version": VERSION, "title": findings.title, "findings": items}
    return json.dumps(whole, indent=1, ensure_ascii=False)


def to_html(findings: Findings, root: str, chart: "Callable[[str], Figure]") -> str:
    """One page that opens without a network.

    ``root`` is the address of the app; ``chart`` makes a figure of its JSON, with the colours of paper.
    """
    script = ""
    if any(one.figure for one in findings.items):
        from plotly.offline import get_plotlyjs

        script = f"<script>{get_plotlyjs()}</script>"
    title = html.escape(findings.title or STEM)
    body = "".join(_article(number, one, root, chart) for number, one in enumerate(findings.items, 1))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">{SEAL}'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title>'
        f"<style>{STYLE}</style>{script}</head><body><h1>{title}</h1>{body}</body></html>\n"
    )


def _article(number: int, one: Finding, root: str, chart: "Callable[[str], Figure]") -> str:
    picture = ""
    if one.figure:
        picture = chart(one.figure).to_html(full_html=False, include_plotlyjs=False, config={"displaylogo": False})
    elif one.html:
        # Its style ends where it stands.
        picture = f'<div class="view"><template shadowrootmode="open">{clean(one.html)}</template></div>'
    note = f"<p>{html.escape(one.note)}</p>" if one.note else ""
    code = f"<details><summary>Python</summary><pre>{html.escape(one.code)}</pre></details>" if one.code else ""
    link = f'<a href="{html.escape(one.link(root))}" rel="noopener">Open this view</a>'
    source = f"{html.escape(one.source)} · {link}" if one.source else link
    below = f'<p class="source">{source}</p>{code}'
    return f"<article><h2>{number}. {html.escape(one.claim)}</h2>{note}{picture}{below}</article>"


def to_notebook(findings: Findings, root: str) -> str:
    """A notebook, format 4.5: of each finding its words and link, then the Python of its page, not yet run."""
    cells = [_cell("markdown", "title", f"# {plain(findings.title or STEM)}\n\n{HOW_TO_RUN}")]
    for number, one in enumerate(findings.items, 1):
        words = [f"## {number}. {plain(one.claim)}", plain(one.note)]
        words += [f"{plain(one.source)}\n\n[Open this view]({_target(one.link(root))})".strip()]
        cells.append(_cell("markdown", f"finding-{number}", "\n\n".join(filter(None, words))))
        if one.code:
            cells.append(_cell("code", f"python-{number}", one.code) | {"execution_count": None, "outputs": []})
    about = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return json.dumps({"cells": cells, "metadata": about, "nbformat": 4, "nbformat_minor": 5}, indent=1) + "\n"


def _cell(kind: str, name: str, source: str) -> dict[str, Any]:
    return {"cell_type": kind, "id": name, "metadata": {}, "source": source.splitlines(keepends=True)}


def plain(text: str) -> str:
    """Text that Markdown shows as it is, with its lines."""
    lines = (html.escape(MARKS.sub(r"\\\1", line.strip()), quote=False) for line in text.strip().split("\n"))
    return "  \n".join(lines)


def _target(link: str) -> str:
    """An address between the brackets of a link: what would end it is written in numbers."""
    return "".join(f"%{ord(letter):02X}" if letter in "()<>\\ " else letter for letter in link)
