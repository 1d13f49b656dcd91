"""Models in the app: loaded once however many ask, local ones by hand only."""

import shutil
import threading
from pathlib import Path

import pytest
import torch
from streamlit.runtime import Runtime
from streamlit.testing.v1 import AppTest

from lens.ui import by_hand
from lens.ui.controls import begun
from lens.ui.fields import DEFAULT_MODEL
from lens.ui.memory import residents
from tests.ui.conftest import REAL, bound, html, markdown
from tests.ui.test_frame import OPEN

IDENTITY = OPEN.replace("st.write(", 'st.write(f"object {id(model)}")\n    st.write(')


class Standing(type(Runtime)):
    """A runtime that stays: AppTest puts a stand-in into ``_instance`` and takes it away after its own run, while the
    visitors of other threads still need one."""

    def __setattr__(cls, name, value):
        if name != "_instance" or value is not None:
            super().__setattr__(name, value)


def test_eight_sessions_load_one_model(app, monkeypatch):
    residents.clear()
    standing = Standing("Runtime", (Runtime,), {})
    monkeypatch.setattr("streamlit.runtime.Runtime", standing)
    monkeypatch.setattr("streamlit.testing.v1.app_test.Runtime", standing)
    visitors: list[AppTest] = [app(IDENTITY) for _ in range(8)]
    for visitor in visitors:
        visitor.query_params["model"] = REAL  # long enough to load that all eight wait for it
    threads = [threading.Thread(target=visitor.run) for visitor in visitors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not [error.value for visitor in visitors for error in visitor.exception]
    assert len({visitor.markdown[0].value for visitor in visitors}) == 1


def type_model(at: AppTest, text: str) -> None:
    """What a hand types into the box: AppTest only chooses, so the text becomes a choice first."""
    box = bound(at.selectbox, "model")
    box.options.append(text)
    box.set_value(text).run()


@pytest.fixture(autouse=True)
def nothing_typed_yet():
    """What tests before this one typed on this machine is forgotten."""
    by_hand.typed.clear()


@pytest.fixture
def folder(tmp_path, tiny_gpt2) -> Path:
    from tests.helpers import byte_tokenizer, hf_gpt2

    torch.manual_seed(0)
    tokenizer = byte_tokenizer()
    model = hf_gpt2(vocab_size=len(tokenizer), n_positions=128)
    model.save_pretrained(tmp_path / "mine")
    tokenizer.save_pretrained(tmp_path / "mine")
    return tmp_path / "mine"


def test_a_local_folder_opens_by_hand_and_its_path_stays_out_of_the_address(app, folder):
    at = app(OPEN).run()
    type_model(at, str(folder))
    assert not at.exception
    assert not at.error
    assert at.query_params == {"model": "local:mine"}
    assert str(folder) not in html(at).replace(f"<b>{folder}", "")
    assert "tokens" in markdown(at)


def reloaded(app, query: dict[str, str]) -> AppTest:
    """A new session on the address that the last one left: what a reload of the page is to the server."""
    at = app(OPEN)
    at.query_params.update(query)
    return at.run()


def test_a_page_that_is_loaded_again_opens_the_same_folder_after_one_click(app, folder):
    at = app(OPEN).run()
    type_model(at, str(folder))
    address = dict(at.query_params) | {"layer": "1", "pins": "1.2", "prompt": "some text"}
    for at in (reloaded(app, address), reloaded(app, address)):  # each load asks again
        assert not at.exception
        assert at.query_params == address
        assert "tokens" not in markdown(at)
        assert "An address opens no folder" in at.info[0].value
        assert str(folder.parent) not in html(at) + at.info[0].value
        assert at.selectbox(key="view:model").value == "local:mine"
        at.button(key="open-again").click().run()
        assert not at.error
        assert at.query_params == address
        assert "tokens, layer 1, pins ((1, 2),)" in markdown(at)
        assert markdown(at).startswith(str(folder))
        assert not [button for button in at.button if button.key == "open-again"]


def test_two_folders_of_one_name_are_two_models(app, folder, tmp_path):
    (tmp_path / "other").mkdir()
    twin = folder.rename(tmp_path / "other" / "mine")
    shutil.copytree(twin, folder)
    at = app(OPEN).run()
    type_model(at, str(folder))
    assert at.query_params == {"model": "local:mine"}
    type_model(at, str(twin))
    assert at.query_params == {"model": "local:mine-2"}
    for name, path in (("local:mine", folder), ("local:mine-2", twin)):
        at = reloaded(app, {"model": name})
        at.button(key="open-again").click().run()
        assert markdown(at).startswith(str(path))


def test_a_name_opens_nothing_that_was_not_typed_here_or_is_gone_or_is_asked_for_when_hosted(app, folder, monkeypatch):
    assert "is a local model of another session" in html(reloaded(app, {"model": "local:mine"}))
    type_model(app(OPEN).run(), str(folder))
    with monkeypatch.context() as hosted:
        hosted.setenv("LENS_HOSTED", "1")
        at = reloaded(app, {"model": "local:mine"})
        assert "is a local model of another session" in html(at)
        assert not [button for button in at.button if button.key == "open-again"]
    shutil.rmtree(folder)
    at = reloaded(app, {"model": "local:mine"})
    assert "is no longer where it was on this machine" in html(at)
    assert markdown(at).startswith(DEFAULT_MODEL)


def test_a_hosted_app_opens_no_path_typed_by_hand(app, folder, monkeypatch):
    monkeypatch.setenv("LENS_HOSTED", "1")
    at = app(OPEN).run()
    type_model(at, str(folder))
    assert not at.exception
    assert markdown(at).startswith(DEFAULT_MODEL)
    assert "never by a path" in html(at)


def test_a_file_that_is_no_model_is_one_sentence(app, tmp_path):
    path = tmp_path / "notes.gguf"
    path.write_text("not a model")
    at = app(OPEN).run()
    type_model(at, str(path))
    assert not at.exception
    assert len(at.error) == 1
    assert len(at.expander) == 1, at.error[0].value  # the controls: no report


def test_the_bar_says_what_is_in_memory_and_lets_it_go(app, folder):
    residents.clear()
    at = app(OPEN).run()
    assert "no model is open" not in html(at)
    assert f'aria-label="Memory: {DEFAULT_MODEL} ' in html(at)
    type_model(at, str(folder))
    assert "mine " in html(at)
    assert [one.name for one in residents().resident()] == ["mine", DEFAULT_MODEL]
    mine = residents().resident()[0].key
    at.session_state["memory"] = True  # the list is open
    at.run()
    at.button(key=f"drop:0:{mine}").click().run()
    assert not at.exception
    assert [one.name for one in residents().resident()][-1] == DEFAULT_MODEL


def test_a_budget_that_is_no_amount_of_memory_is_one_sentence(app, monkeypatch):
    residents.clear()
    monkeypatch.setenv("LENS_MODEL_MEMORY", "plenty")
    at = app(OPEN).run()
    assert not at.exception
    assert [error.value for error in at.error] == [
        "LENS_MODEL_MEMORY='plenty' is no amount of memory. Write it like 6GB, 800MB or 2000000000."
    ]


def test_a_model_over_the_budget_pushes_out_the_one_used_longest_ago(app, folder, monkeypatch):
    residents.clear()
    monkeypatch.setenv("LENS_MODEL_MEMORY", "1MB")
    at = app(OPEN).run()
    type_model(at, str(folder))
    assert not at.exception
    assert [one.name for one in residents().resident()] == ["mine"]
    assert "of 1 MB for models" in html(at)
    residents.clear()


@pytest.mark.parametrize(
    ("typed", "opened"),
    [("smol", "smollm2-135m"), (" GPT", "gpt2"), ("gpt2", "gpt2"), ("nobody/gpt2", "nobody/gpt2"), ("  ", "  ")],
)
def test_a_beginning_of_a_name_opens_the_first_that_begins_so(typed, opened):
    assert begun(typed, ["lens-2l", "gpt2", "gpt2-xl", "smollm2-135m", "smollm2-360m"]) == opened
