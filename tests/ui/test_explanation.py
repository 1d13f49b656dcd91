"""What is said under a figure: every part, in one order, escaped; and charts whose clicks are followed."""

import html
import re
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.ui.conftest import fine

PAGE = """
from types import SimpleNamespace
import torch
from lens.tokens import BosPolicy
from lens.ui.explanation import Explanation, explain
from lens.ui.frame import frame
with frame("Home", question="?") as view:
    bos, cfg = BosPolicy(7, "<s>", True, "it was trained so"), SimpleNamespace(n_layers=2, n_heads=4)
    model = SimpleNamespace(name="<toy>", note="A toy.", cfg=cfg, bos=bos, dtype=torch.float32)
    whole = Explanation(("One.", "Two."), "Not so.", (("Aside", "Beside."), ("Empty", "")),
                        (("Chance", "A <null>."), ("None", "")), "x^2", "x is x")
    explain(view, {model}, whole)
"""


@pytest.fixture(params=["model", "None"])
def at(request, app):
    return app(PAGE.replace("{model}", request.param)).run()


def test_every_part_stands_in_its_order(at):
    titles = re.findall(r"<b>([^<]*)</b>", fine(at).partition("lens-line notice")[2])
    named = ["Model"] if "A toy." in fine(at) else []
    assert titles == ["Notice", "Notice", "Easy to misread", "Aside", "Measured on", *named, "Chance"]
    assert [one.label for one in at.expander][1:] == ["Formula"]  # the first holds the controls
    assert at.latex[0].value.strip("$ \n") == "x^2"


def test_what_is_folded_is_in_the_page_and_escaped(at):
    row = next(part for part in fine(at).split("\n") if "lens-measured" in part)
    assert row.startswith('<details class="lens-measured"><summary>')
    assert "A &lt;null&gt;." in row
    assert "<null>" not in row
    held = re.search(r"<summary><b>Measured on</b><span>([^<]*)</span>", row)[1]
    assert held == ("&lt;toy&gt; · Chance" if "A toy." in row else "Chance")
    assert ("BOS &lt;s&gt; (id 7) stands first" in row) == ("A toy." in row)


NAMED = """
from types import SimpleNamespace
import streamlit as st
from lens.ui.frame import frame
from lens.ui.links import with_links
CHECKPOINTS = {{"300 tokens": "a/b", "1,300 tokens": "c"}}
with frame("Home", question="?") as view:
    st.code(with_links(view, SimpleNamespace(n_layers=2, n_heads=4), {text!r}, CHECKPOINTS))
"""


def linked(app, text: str, prompt: str = "") -> str:
    at = app(NAMED.format(text=text))
    if prompt:
        at.query_params["prompt"] = prompt
    fine(at.run())
    return at.code[0].value


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Head 1.1 gives 0.72.", ["1.1"]),
        ("Of 8 heads 1.1 with 0.72 seems most to look back.", ["1.1"]),
        ("The strongest is 0.3; the next heads 1.1, 1.2 and 0.0 follow.", ["0.3", "1.1", "1.2", "0.0"]),
        ("The largest is 1.1 nats, 0.3 by chance.", []),
        ("Head 7.1, head 1.9 and head 01.1 do not exist; head 1.1.1 is no head.", []),
        ("It looks at 3 '·head' → 4 '1.1' and at '·head·1.1'.", []),
    ],
)
def test_heads_that_a_sentence_calls_so_are_links_to_their_pages(app, text, names):
    shown = linked(app, text)
    links = re.findall(r'href="head\?layer=(\d)&amp;head=(\d)">([^<]*)</a>', shown)
    assert [name for *_, name in links] == names
    assert [f"{layer}.{head}" for layer, head, _ in links] == names
    assert re.sub(r"</?(a|dfn)[^>]*>", "", shown) == html.escape(text)


@pytest.mark.parametrize(
    ("text", "links"),
    [
        ("It moves from layer 0 to head 1.1.", {"attention?layer=0&look=maps": "0", "head?layer=1&head=1": "1.1"}),
        ("Layers 0 to 1 carry it.", {"attention?layer=0&look=maps": "0", "attention?layer=1&look=maps": "1"}),
        ("Layer 2, a layer 1.5 and ·layer 1's do not exist.", {}),
        ("Query 8 '·cat' looks most at 3 '·the' (0.4).", {"attention?query=8": "8", "attention?query=3": "3"}),
        ("A to b, positions 7 and 2 of the prompt: 0.1.", {"predictions?token=7": "7", "predictions?token=2": "2"}),
        ("Loss 3.01 at position 4 of prompt 2, at 3.4 'x'.", {}),
        ("Born between 300 tokens and 1,300 tokens.", {"attention?revision=a%2Fb": "300 tokens",
                                                       "attention?revision=c": "1,300 tokens"}),
        ("At 2,300 tokens and 300 tokenses nothing was saved.", {}),
    ],
)  # fmt: skip
def test_layers_tokens_and_checkpoints_that_a_sentence_names_are_links_to_where_they_are_seen(app, text, links):
    written = linked(app, text)
    found = re.findall(r'href="([^"]*)">([^<]*)</a>', written)
    assert {html.unescape(address): name for address, name in found} == links
    assert re.sub(r"</?(a|dfn)[^>]*>", "", written) == html.escape(text)


@pytest.mark.parametrize(
    "token",
    [
        "<a·href=x>",
        "</span><b>",
        "[x](http://y.z)",
        "·layer",
        "·head·1.1",
        "·position·3·of·the·prompt",
        "'·7",
        "`1`",
        "&lt;",
    ],
)
def test_what_a_stranger_typed_makes_no_link_and_no_html(app, token):
    text = f"Of 2 tokens {token} and {token}, 0.3 to {token}: query 4 '{token}' looks most at {token}."
    written = linked(app, text)
    assert re.findall(r'href="([^"]*)"', written) == ["attention?query=4"]
    assert set(re.findall(r"<(/?\w+)", written)) <= {"a", "/a", "dfn", "/dfn"}
    assert re.sub(r"</?(a|dfn)[^>]*>", "", written) == html.escape(text)


def test_a_link_to_a_head_keeps_the_state_and_a_hostile_prompt_stays_text(app):
    hostile = '"><img src=x onerror=alert(1)>'
    shown = linked(app, f"Head 1.1 looks at '{hostile}'.", prompt=hostile)
    (address,) = re.findall(r'href="([^"]*)"', shown)
    values = parse_qs(urlsplit(html.unescape(address)).query)
    assert values == {"prompt": [hostile], "layer": ["1"], "head": ["1"]}
    assert re.findall(r"<(\w+)", shown) == ["dfn", "a"], "the term and the link alone"
