"""Findings: views of the app that somebody kept, each with a claim and a note. A file of them is plain JSON.

{"format": "lens findings", "version": 1, "title": "Heads of lens-2l", "findings": [
    {"page": "attention", "view": {"model": "lens-2l", "layer": "1", "head": "1"},
     "claim": "Head 1.1 looks where the token went on the first time.", "note": "Also at another seed.",
     "model": "lens-2l@tokens_000012300000", "dtype": "float32", "sample": "16 sequences, seed 0",
     "date": "2026-11-28T09:00:00Z", "code": "from lens import …", "figure": {"data": […], "layout": {…}}}]}

``page``, ``view`` and ``claim`` must be there. ``page`` is the name of a page ("" is Home) and ``view`` what its
address says, names and values of text: together they are an address inside the app, and there is no way to write
another. In place of ``figure``, plotly's JSON, may stand ``html``, the markup of a view of tokens or a table.
"""

from lens.findings.finding import LARGEST, LONGEST, LONGEST_TITLE, MOST, VERSION, Finding, Findings
from lens.findings.read import Pages, read_findings
from lens.findings.write import plain, to_html, to_notebook, write_findings

__all__ = [
    "LARGEST",
    "LONGEST",
    "LONGEST_TITLE",
    "MOST",
    "VERSION",
    "Finding",
    "Findings",
    "Pages",
    "plain",
    "read_findings",
    "to_html",
    "to_notebook",
    "write_findings",
]
