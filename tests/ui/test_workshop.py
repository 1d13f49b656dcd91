"""A link for a class: its pages, its models, its prompt, from page to page, and the way out."""

import re
from html import unescape
from urllib.parse import parse_qsl, urlsplit

import pytest
from streamlit.testing.v1 import AppTest

from lens.ui.fields import DEFAULT_MODEL
from lens.ui.workshop import Workshop, workshop_link
from tests.ui.conftest import app_page, bound, fine, html

CLASS = {"workshop_pages": "attention head_scores", "workshop_models": "lens-1l lens-2l"}
PROMPT = "To be, or not to be; to be"


def menu(at: AppTest) -> list[str]:
    return [link.proto.label for link in at.sidebar.get("page_link")]


def leave(at: AppTest) -> list:
    return [button for button in at.button if button.label == "Leave the workshop"]


def opened(link: str) -> AppTest:
    parts = urlsplit(link)
    return app_page(parts.path.strip("/"), **dict(parse_qsl(parts.query))).run()


def test_the_link_opens_the_page_with_model_and_prompt_and_offers_no_more():
    link = workshop_link(
        "http://x", "attention", "lens-1l", PROMPT, Workshop(("attention", "head_scores"), ("lens-1l",))
    )
    assert link.endswith("&workshop_pages=attention+head_scores&workshop_models=lens-1l"), "it can be read"
    at = opened(link)
    fine(at)
    assert menu(at) == ["Attention", "Head scores"]
    box = bound(at.selectbox, "model")
    assert (box.value, list(box.options), box.proto.accept_new_options) == ("lens-1l", ["lens-1l"], False)
    assert list(bound(at.selectbox, "with_model").options) == ["no second model", "lens-1l"]
    assert bound(at.text_area, "prompt").value == PROMPT
    links = {one.proto.label for one in at.main.get("page_link")}
    assert not {label for label in links if re.search("Composition|Ablation|all of one head", label)}
    assert 'href="head?' not in "".join(element.proto.body for element in at.get("html")), "no sentence leads elsewhere"


def test_it_stays_from_page_to_page_and_where_a_link_of_the_app_says_nothing_of_it():
    at = app_page("attention", **CLASS).run()
    at.switch_page("pages/head_scores.py").run()
    assert at.query_params.items() >= CLASS.items()
    at.switch_page("pages/attention.py")
    at.query_params.clear()
    at.query_params.update({"model": "lens-1l", "head": "2", "stage": "0"})
    at.run()
    assert at.query_params == {"model": "lens-1l", "head": "2"} | CLASS
    assert menu(at) == ["Attention", "Head scores"]


def test_a_page_beside_it_says_which_there_are_and_the_way_out_leads_to_it():
    at = app_page("tokens", **CLASS).run()
    assert not at.error
    assert "**Tokens** is not a page of this workshop, which has Attention, Head scores" in at.info[0].value
    assert [one.proto.label for one in at.main.get("page_link")] == ["Attention", "Head scores"]
    assert not at.get("plotly_chart")
    leave(at)[0].click().run()
    fine(at)
    assert at.query_params == {}
    assert len(menu(at)) > 15
    assert not leave(at)


@pytest.mark.parametrize(
    ("query", "note"),
    [
        ({"workshop_pages": "attention nopage"}, "The workshop names 'nopage', which is no page of Lens: left out."),
        ({"workshop_pages": "attention ../x"}, "left out '../x'"),
        ({"workshop_models": "lens-2l nomodel"}, "A model of the workshop is left out: "),
        ({"workshop_models": "lens-2l <b>"}, "left out '<b>'"),
        ({"workshop_models": "lens-2l local:x"}, "left out 'local:x'"),
        ({"workshop_models": "lens-2l", "model": "lens-1l"}, "'lens-1l' is not a model of this workshop: showing"),
        ({"workshop_models": "lens-2l", "with_model": "lens-3l@x"}, "'lens-3l' is not a model of this workshop"),
        ({"workshop_pages": " ".join(["attention"] + ["p"] * 3 + [f"p{i}" for i in range(30)])}, "At most 24 pages of"),
    ],
)  # fmt: skip
def test_what_cannot_be_offered_is_a_sentence_and_the_rest_stays(query, note):
    at = app_page("attention", **query).run()
    assert note in unescape(fine(at))
    assert bound(at.selectbox, "model").value == DEFAULT_MODEL
    assert at.query_params.get("workshop_pages", "attention") == "attention"
    assert at.query_params.get("workshop_models", "lens-2l") == "lens-2l"


def test_the_form_on_home_makes_a_link_that_is_such_a_workshop():
    at = app_page("", prompt=PROMPT)
    at.session_state["class"] = True  # unfolded
    at.run()
    at.multiselect(key="class:pages").set_value(["Head scores", "Tokens"])
    at.multiselect(key="class:models").set_value(["lens-3l", "lens-1l"]).run()
    fine(at)
    assert at.selectbox(key="class:first").options == ["Head scores", "Tokens"]
    (link,) = [code.value for code in at.code if "workshop_pages" in code.value]
    offered = Workshop(("tokens", "head_scores"), ("lens-3l", "lens-1l"))
    assert link == workshop_link("", "head_scores", "lens-3l", PROMPT, offered)
    inside = opened(link)
    assert menu(inside) == ["Tokens", "Head scores"]
    assert bound(inside.selectbox, "model").value == "lens-3l"


def test_home_inside_of_a_workshop_offers_what_it_has():
    at = app_page("", workshop_pages="home attention", workshop_models="lens-2l").run()
    shown = html(at)
    assert menu(at) == ["Home", "Attention"]
    assert "A link for a class" not in [one.label for one in at.expander]
    cards = [one.proto.label for one in at.main.get("page_link") if "\n\n" in one.proto.label]
    assert [card.split("\n")[0] for card in cards] == ["1 · See it"]
    assert '<ul class="lens-notes"' not in shown
