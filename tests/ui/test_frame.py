"""The frame around real pages: address, notes, errors, switching pages. Each test is one visitor."""

import subprocess
import sys
from urllib.parse import parse_qsl

import pytest

from lens.ui.fields import DEFAULT_MODEL, DEFAULT_PROMPT
from tests.ui.conftest import REAL, bound, html, markdown

TOKENS = """
import streamlit as st
from lens.ui.fields import choice, integer
from lens.ui.frame import frame
from lens.ui.widgets import number, select, toggle
OPTIONS = [choice("by", "id", ("id", "text")), integer("top", 5, 1, 50)]
with frame("Tokens", question="<i>?</i>", options=OPTIONS) as view:
    number(view, "layer", (0, 40), "Layer", "help")
    select(view, "by", ("id", "text"), "By", "help")
    st.write(f"layer {view.layer} by {view.by} top {view['top']}")
"""
ATTENTION = """
import streamlit as st
from lens.ui.frame import frame
with frame("Attention", question="?") as view:
    st.write(f"layer {view.layer} prompt {view.prompt}")
"""
OPEN = """
import streamlit as st
from lens.ui.frame import frame
from lens.ui.models import open_model, read_prompt
with frame("Home", question="?") as view:
    model = open_model(view)
    prompt = read_prompt(view, model)
    st.write(f"{model.name}: {len(prompt.labels)} tokens, layer {view.layer}, pins {tuple(map(tuple, view.pins))}")
"""


def test_the_default_page_opens_the_default_model(app):
    at = app(OPEN).run()
    assert not at.exception
    assert not at.error
    assert markdown(at).startswith(f"{DEFAULT_MODEL}: ")
    assert at.query_params == {}
    assert f"<b>{DEFAULT_MODEL}@tokens_" in html(at), "the checkpoint that is open is named"


def test_bad_values_become_defaults_with_notes(app):
    at = app(OPEN)
    at.query_params.update(
        {"model": REAL, "layer": "99", "pins": "0.1,98.1", "bos": "maybe", "seed": "x", "utm_source": "mail"}
    )
    at.run()
    assert not at.exception
    shown = html(at)
    for sentence in (
        "Layer 99 does not exist in this model (30 layers): showing layer 0.",
        "This model has no head 98.1 (30 layers of 9 heads): unpinned.",
        "Bos must be one of auto, on, off, not &#x27;maybe&#x27;",
        "Seed must be a whole number",
    ):
        assert sentence in shown
    assert "layer 0, pins ((0, 1),)" in markdown(at)
    assert at.query_params == {"model": REAL, "pins": "0.1"}
    chips = bound(at.multiselect, "pins")
    assert (chips.value, list(chips.proto.default), list(chips.proto.options)) == (["0.1"], [0], ["0.1"])


def test_unpinning_a_head_leaves_the_selected_one(app):
    at = app(OPEN)
    at.query_params.update({"layer": "1", "head": "2", "pins": "0.1,1.3"})
    at.run()
    bound(at.multiselect, "pins").set_value(["0.1"]).run()
    assert at.query_params == {"layer": "1", "head": "2", "pins": "0.1"}
    bound(at.multiselect, "pins").set_value(["0.1", "0.3"]).run()
    assert at.query_params == {"layer": "0", "head": "3", "pins": "0.1,0.3"}


def test_an_address_that_spells_out_defaults_stays_and_a_foreign_one_is_cleaned(app):
    at = app(TOKENS)
    at.query_params.update({"model": DEFAULT_MODEL, "top": "5", "layer": "4"})
    at.run()
    assert at.query_params == {"model": DEFAULT_MODEL, "top": "5", "layer": "4"}
    at.query_params["utm_source"] = "mail"
    at.run()
    assert at.query_params == {"layer": "4"}


@pytest.mark.parametrize("name", ["no-such-model", "/etc", "../..", "./lens", "weights.gguf", "local:mine", "lens/ui"])
def test_unknown_models_and_paths_are_refused(app, name):
    at = app(OPEN)
    at.query_params["model"] = name
    at.run()
    assert not at.exception
    assert not at.error
    assert f"showing {DEFAULT_MODEL}" in html(at) or f"showing model &#x27;{DEFAULT_MODEL}" in html(at)
    assert markdown(at).startswith(DEFAULT_MODEL)


def test_a_model_that_is_not_here_is_offered_never_fetched(app):
    at = app(OPEN)
    at.query_params["model"] = "nobody/no-such-model"
    at.run()
    assert "is not on this machine" in markdown(at)
    assert [button.label for button in at.button if "Download" in button.label] == ["Download nobody/no-such-model"]
    assert at.query_params["model"] == "nobody/no-such-model"


def test_hosted_offers_listed_models_only(app, monkeypatch):
    monkeypatch.setenv("LENS_HOSTED", "1")
    at = app(OPEN)
    at.query_params["model"] = "nobody/no-such-model"
    at.run()
    assert "is not one of the models offered here" in html(at)


def test_an_empty_prompt_is_a_sentence_and_keeps_its_address(app):
    at = app(OPEN)
    at.query_params["prompt"] = ""
    at.run()
    assert not at.exception
    assert "The prompt is empty" in at.info[0].value
    assert at.query_params == {"prompt": ""}


def test_widgets_write_the_view_and_the_address(app):
    at = app(TOKENS).run()
    at.number_input(key="view:layer").set_value(7).run()
    at.selectbox(key="view:by").set_value("text").run()
    assert markdown(at) == "layer 7 by text top 5"
    assert at.query_params == {"layer": "7", "by": "text"}
    at.number_input(key="view:layer").set_value(0).run()
    assert at.query_params == {"layer": "0", "by": "text"}, "layer 0 is a choice like any other"


def test_switching_pages_keeps_the_state(app):
    at = app(tokens=TOKENS, attention=ATTENTION)
    at.query_params.update({"layer": "3", "prompt": "hello"})
    at.run()
    at.switch_page("pages/tokens.py").run()
    assert markdown(at) == "layer 3 by id top 5"
    at.selectbox(key="view:by").set_value("text").run()
    at.switch_page("pages/attention.py").run()
    assert markdown(at) == "layer 3 prompt hello"
    at.switch_page("pages/tokens.py").run()
    assert markdown(at) == "layer 3 by text top 5"


def test_an_option_that_pages_share_is_one_value_for_those_that_have_it(app):
    script = """
from lens.ui.fields import text
from lens.ui.frame import frame
OPTIONS = [text("own", "none", 99)._replace(joint=True), text("alone", "none", 99)]
with frame("TITLE", question="?", options=OPTIONS) as view:
    view.set(own=view.own + "+TITLE", alone=view.alone + "+TITLE")
"""
    pages = {name: script.replace("TITLE", name.title()) for name in ("ablation", "patching")}
    at = app(tokens=TOKENS, **pages).run()
    at.switch_page("pages/patching.py").run()
    assert at.query_params == {"own": "none+Patching", "alone": "none+Patching"}
    at.switch_page("pages/tokens.py").run()
    assert at.query_params == {}
    at.switch_page("pages/ablation.py").run()
    assert at.query_params == {"own": "none+Patching+Ablation", "alone": "none+Ablation"}
    at.run()  # the menu is drawn before a page changes a value
    links = {link.proto.label: dict(parse_qsl(link.proto.query_string)) for link in at.get("page_link")}
    assert links["Patching"] == {"own": "none+Patching+Ablation", "alone": "none+Patching"}
    assert links["Tokens"] == {}


def test_the_menu_lists_the_pages_that_exist(app):
    at = app(tokens=TOKENS).run()
    links = [link.proto.label for link in at.get("page_link")]
    assert links == ["Home", "Tokens"]


def test_a_question_is_escaped(app):
    at = app(TOKENS).run()
    assert "&lt;i&gt;?&lt;/i&gt;" in html(at)


def test_an_error_of_lens_is_one_sentence(app):
    at = app("""
from lens.ui.frame import frame
with frame("Home", question="?") as view:
    view.set(layer=-5)
""").run()
    assert not at.exception
    assert [error.value for error in at.error] == ["layer -5 is outside 0 to 9999"]
    assert [one.label for one in at.expander][1:] == []  # the first holds the controls


@pytest.mark.parametrize(("hosted", "reports"), [("0", 1), ("1", 0)])
def test_an_error_of_the_page_is_a_report_at_home_only(app, monkeypatch, hosted, reports):
    monkeypatch.setenv("LENS_HOSTED", hosted)
    at = app("""
from lens.ui.frame import frame
with frame("Home", question="?") as view:
    {}["secret"]
""").run()
    assert not at.exception
    assert "unexpected KeyError" in at.error[0].value
    assert [one.label for one in at.expander][1:] == ["Report"] * reports


def test_stop_inside_a_page_still_writes_the_address(app):
    at = app("""
import streamlit as st
from lens.ui.frame import frame
with frame("Home", question="?") as view:
    view.set(layer=4)
    st.stop()
""").run()
    assert at.query_params == {"layer": "4"}


def test_pins_are_typed_removed_and_checked(app):
    at = app(OPEN)
    at.query_params["model"] = REAL
    at.run()
    pins = at.multiselect(key="view:pins")
    pins.set_value(["3.1", "4.2"]).run()
    assert "layer 4, pins ((3, 1), (4, 2))" in markdown(at)
    at.multiselect(key="view:pins").set_value(["3.1", "nonsense"]).run()
    assert "pins ((3, 1),)" in markdown(at)
    assert "left out &#x27;nonsense&#x27;" in html(at)


def test_options_that_collide_are_refused(app):
    at = app("""
from lens.ui.fields import integer
from lens.ui.frame import frame
with frame("Home", question="?", options=[integer("layer", 0)]) as view:
    pass
""").run()
    assert "declares layer, layer, which the view has already" in at.exception[0].value


def test_the_default_prompt_fits_every_limit():
    from lens.ui.limits import HOSTED

    assert len(DEFAULT_PROMPT) < HOSTED.prompt_chars


def test_the_frame_imports_no_torch():
    code = "import sys, lens.ui.frame, lens.ui.parts, lens.ui.export, lens.ui.calls; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0


def test_a_link_to_a_page_that_was_never_open_holds_what_pages_share(app):
    """Else the page would rewrite its address, which is one more step of Back."""
    script = """
from lens.ui.frame import frame
from lens.ui.shared.reads import FIELD
with frame("Attention", question="?", options=[FIELD]) as view:
    view.set(reads="repeat")
"""
    at = app(attention=script, head="", tokens=TOKENS).run()
    at.switch_page("pages/attention.py").run()
    at.switch_page("pages/tokens.py").run()
    links = {link.proto.label: dict(parse_qsl(link.proto.query_string)) for link in at.get("page_link")}
    assert links["Attention"] == links["One head"] == {"reads": "repeat"}
    assert links["Tokens"] == {}
