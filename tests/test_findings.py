"""Findings: what is written reads back, in order; what a stranger writes is text, or a sentence says what is wrong."""

import json
import re
from html.parser import HTMLParser

import jsonschema
import plotly.graph_objects as go
import pytest

from lens.figures.kept import restored, written
from lens.figures.strip import token_strip
from lens.figures.theme import standalone
from lens.findings import (
    MOST,
    Finding,
    Findings,
    read_findings,
    to_html,
    to_notebook,
    write_findings,
)
from lens.findings.safe import clean
from tests.figures.test_paper import figure

PAGES = {"": {"model"}, "attention": {"model", "layer", "prompt"}, "tokens": {"model"}}
HOSTILE = "</script></style><img src=x onerror=alert(1)> `$x$` [a](javascript:alert(1)) & \u202e\U0001f600 {{7*7}} %{x}"
CHART = written(figure())
PLAIN = Finding("attention", {"layer": "1"}, "Head 1.1 looks back.")
FULL = Finding(
    "attention", {"model": "lens-2l", "prompt": HOSTILE}, HOSTILE, "two\nlines " + HOSTILE, "lens-2l@x", "float32",
    "16 sequences, seed 0", "2026-11-28T09:00:00Z", f"# {HOSTILE}\nprint(1)\n", CHART,
)  # fmt: skip
STRIP = Finding("tokens", {}, "Odd.", html=clean(token_strip(["<b>", "·'cat'"], None)))
HOME = Finding("", {}, "Begin here.")
ALL = Findings("A <class>", (FULL, STRIP, PLAIN, HOME))
ROOT = "http://localhost:8501"


def text(*items: object, **rest: object) -> str:
    return json.dumps({"format": "lens findings", "version": 1, "findings": list(items)} | rest)


def item(**rest: object) -> dict:
    return {"page": "attention", "view": {"layer": "1"}, "claim": "It looks back."} | rest


def paper(chart: str) -> go.Figure:
    return standalone(restored(chart))


@pytest.mark.parametrize("items", [(), ALL.items, ALL.items[::-1], (PLAIN, PLAIN)])
def test_what_is_written_reads_back_in_its_order(items):
    whole = Findings("A <class>", tuple(items))
    assert read_findings(write_findings(whole), PAGES) == whole


def test_what_is_not_there_is_not_written():
    (only,) = json.loads(write_findings(Findings("", (PLAIN,))))["findings"]
    assert only == item(claim=PLAIN.claim)


def test_a_figure_that_was_kept_is_the_figure():
    again = restored(CHART)
    assert again.data[0].to_plotly_json()["z"] is not None
    assert [list(row) for row in again.data[0].z] == [[1, 2]]
    assert again.layout.title.text == figure().layout.title.text
    assert written(again) == CHART


def test_an_address_is_one_inside_the_app_whatever_its_values_are():
    assert PLAIN.link(ROOT + "/") == f"{ROOT}/attention?layer=1"
    assert (HOME.link(ROOT), HOME.link()) == (f"{ROOT}/", "/")
    assert FULL.link().startswith("/attention?model=lens-2l&prompt=%3C%2Fscript%3E")


@pytest.mark.parametrize(
    ("file", "why"),
    [
        ("no json", "a file of findings is JSON; this one is none"),
        ("[" * 100_000, "nested deeper"),
        ("1" * 5000, "this one is none"),
        ("[]", "this one is another JSON. Choose a file"),
        ('{"title": "x", "slides": []}', "this one is another JSON"),
        (text(version=2), "has version 2; this Lens reads version 1. Open it in"),
        (text(version=True), "has version True"),
        (text(findings={}), '"findings" must be a list'),
        (text(title=3), '"title" must be text'),
        (text(*[item()] * (MOST + 1)), "at most 200 findings; this one has 201. Divide it"),
        (text("x"), "finding 1: it must be an object with page, view, claim"),
        (text(item(), {"page": "tokens", "view": {}}), "finding 2: it has no claim"),
        (text(item(claim=" ")), "its claim is empty"),
        (text(item(claim=3)), "finding 1: its claim must be text, not 3. Correct it in the file, or take it out"),
        (text(item(claim="x" * 2001)), "its claim has 2,001 characters; at most 2,000 are read"),
        (text(item(claim="\ud800")), "half of a character"),
        (text(item(colour="red")), "it has 'colour'; it may have page, view, claim"),
        (text(item(page="nopage")), r"finding 1 \('It looks back.'\): there is no page 'nopage'; pages are attention"),
        (text(item(page="../secret")), "there is no page"),
        (text(item(page="https://evil.example/attention")), "there is no page"),
        (text(item(page="//evil.example")), "there is no page"),
        (text(item(page=["attention"])), "its page must be text"),
        (text(item(view="layer=1")), "its view must be an object"),
        (text(item(view={"javascript:": "1"})), "of page 'attention' has no field 'javascript:'; it has layer"),
        (text(item(view={"layer": 1})), "its layer must be text, not 1"),
        (text(item(date="yesterday")), "its date must be written 2026-11-28T09:00:00Z"),
        (text(item(figure="x")), "a figure is plotly's JSON"),
        (text(item(figure={"data": [{"type": "scattergeo"}]})), "kinds bar, heatmap, scatter, not 'scattergeo'"),
        (text(item(figure={"data": [], "layout": {"images": [{"source": "http://evil"}]}})), "a figure has no images"),
        (text(item(figure={"data": [{"xsrc": "evil:1"}]})), "a figure has no xsrc: nothing of it is fetched"),
        (text(item(figure={"data": [{"text": ["<A href='x'>"]}]})), "no text of a figure holds a link; text does"),
        (text(item(figure={"data": [{"no": 1}]})), "plotly does not read its figure"),
        (text(item(figure={"data": [{"x": json.loads("[" * 40 + "]" * 40)}]})), "more than 24 levels"),
        (text(item(html="<script>alert(1)</script>")), "a view has no <script>"),
        (text(item(html="<b onclick=alert(1)>x</b>")), "<b> of a view has no onclick"),
        (text(item(html="<p style='background:URL(http://evil)'>")), "a style of a view fetches nothing"),
        (text(item(html="<style>@import 'x'</style>")), "a style of a view fetches nothing"),
        (text(item(html="<style>p{position:fixed}</style>")), "this one has 'fixed'"),
        (text(item(html="<!--<img src=x>-->")), "no comments"),
        (text(item(html="<svg/onload=alert(1)>")), "a view has no <svg>"),
    ],
)  # fmt: skip
def test_what_is_no_file_of_findings_is_said_in_a_sentence(file, why):
    with pytest.raises(ValueError, match=why):
        read_findings(file, PAGES)


class Elements(HTMLParser):
    """What a browser makes of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def test_the_page_has_all_words_as_text_and_fetches_nothing():
    page = to_html(ALL, ROOT, paper)
    assert page.count("Plotly.newPlot(") - page.split("</head>")[0].count("Plotly.newPlot(") == 1
    body = Elements(page.split("</head>")[1])
    own = {tag for tag, _ in Elements(STRIP.html).found}
    assert {tag for tag, _ in body.found} - own == {
        "body", "h1", "article", "h2", "p", "script", "template", "a", "details", "summary", "pre",
    }  # fmt: skip
    assert [attrs["href"] for tag, attrs in body.found if tag == "a"] == [one.link(ROOT) for one in ALL.items]
    assert not [attrs for _, attrs in body.found if any(name.startswith("on") or name == "src" for name in attrs)]
    for words in (FULL.claim, FULL.note, FULL.code, ALL.title):
        assert words in body.text
    assert f'<template shadowrootmode="open">{STRIP.html}</template>' in page
    head = Elements(page.split("<style>")[0])
    (seal,) = [attrs["content"] for _, attrs in head.found if attrs.get("http-equiv") == "Content-Security-Policy"]
    assert seal.startswith("default-src 'none'")


def test_markup_that_nobody_read_before_is_not_written():
    with pytest.raises(ValueError, match="a view has no <img>"):
        to_html(Findings("", (PLAIN._replace(html="<img src=x onerror=alert(1)>"),)), ROOT, paper)


def test_without_a_chart_the_page_carries_no_plotly():
    assert len(to_html(Findings("", (PLAIN, STRIP)), ROOT, paper)) < 20_000


def test_a_hostile_label_of_a_chart_stays_inside_its_script():
    chart = written(go.Figure(go.Scatter(x=[1], y=[1], text=["</script><img src=x onerror=alert(1)>"])))
    page = to_html(Findings("", (PLAIN._replace(figure=chart),)), ROOT, paper)
    assert "img" not in {tag for tag, _ in Elements(page.split("</head>")[1]).found}


# Of nbformat 4.5 (nbformat/v4/nbformat.v4.5.schema.json): the notebook, and the two kinds of cells that are written.
SOURCE = {"type": "array", "items": {"type": "string"}}
CELL = {"id": {"type": "string", "pattern": "^[a-zA-Z0-9-_]+$", "minLength": 1, "maxLength": 64},
        "metadata": {"type": "object"}, "source": SOURCE}  # fmt: skip
MARKDOWN = {
    "type": "object", "additionalProperties": False, "required": ["id", "cell_type", "metadata", "source"],
    "properties": CELL | {"cell_type": {"enum": ["markdown"]}},
}  # fmt: skip
CODE = {
    "type": "object", "additionalProperties": False,
    "required": ["id", "cell_type", "metadata", "source", "outputs", "execution_count"],
    "properties": CELL | {"cell_type": {"enum": ["code"]}, "outputs": {"type": "array", "maxItems": 0},
                          "execution_count": {"type": ["integer", "null"], "minimum": 0}},
}  # fmt: skip
NOTEBOOK = {
    "type": "object", "additionalProperties": False, "required": ["metadata", "nbformat_minor", "nbformat", "cells"],
    "properties": {
        "metadata": {"type": "object", "properties": {
            "kernelspec": {"type": "object", "required": ["name", "display_name"]},
            "language_info": {"type": "object", "required": ["name"]}}},
        "nbformat": {"const": 4}, "nbformat_minor": {"const": 5},
        "cells": {"type": "array", "items": {"oneOf": [MARKDOWN, CODE]}},
    },
}  # fmt: skip


def test_the_notebook_is_one_and_has_the_python_of_every_page():
    book = json.loads(to_notebook(ALL, ROOT))
    jsonschema.validate(book, NOTEBOOK)
    assert len({cell["id"] for cell in book["cells"]}) == len(book["cells"])
    kinds = [cell["cell_type"] for cell in book["cells"]]
    assert kinds == ["markdown", "markdown", "code", "markdown", "markdown", "markdown"]
    assert "".join(book["cells"][2]["source"]) == FULL.code


def test_words_in_a_notebook_are_no_markdown_and_no_html():
    words = "".join("".join(cell["source"]) for cell in json.loads(to_notebook(ALL, ROOT))["cells"][:2])
    assert "<" not in words
    assert re.findall(r"(?<!\\)\[([^\]]*)(?<!\\)\]\(([^)]*)\)", words) == [("Open this view", FULL.link(ROOT))]
    assert not re.findall(r"(?<!\\)[`$*]", words.replace("`pip install -e .`", ""))
