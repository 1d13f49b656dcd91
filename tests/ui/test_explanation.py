"""What is said under a figure: every part, in one order, escaped; and charts whose clicks are followed."""

import re

import pytest

from tests.ui.conftest import fine

PAGE = """
from types import SimpleNamespace
from lens.tokens import BosPolicy
from lens.ui.explanation import Explanation, explain
from lens.ui.frame import frame
with frame("Home", question="?") as view:
    model = SimpleNamespace(name="<toy>", note="A toy.", bos=BosPolicy(7, "<s>", True, "it was trained so"))
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
