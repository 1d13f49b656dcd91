"""The app on a model that is in memory, or in a folder: opened by its name, on this machine alone."""

import asyncio
import copy
import urllib.request

import pytest
import torch

import lens
from lens import HookedTransformer
from lens.__main__ import main
from lens.given import NOW, forget, give, given, model_of, sources
from lens.showing import HOST, show
from lens.ui.models import model_key
from tests.helpers import hf_gpt2, hf_llama
from tests.ui.conftest import app_page, fine, python_of
from tests.visitors import Place, visitor


@pytest.fixture(autouse=True)
def nothing_stays_given():
    yield
    forget()


@pytest.fixture
def model(tiny_gpt2):
    return copy.copy(tiny_gpt2)


def test_what_is_given_is_found_by_its_name_and_a_second_of_the_name_has_a_number(model, tmp_path):
    other = copy.copy(model)
    names = give(model, "My model!"), give(other, "My model!")
    assert names == ("My_model_", "My_model_-2")
    assert [given(name) for name in names] == [model, other]
    assert model_of(sources()["My_model_-2"]) is other
    assert give(tmp_path, "a") == give(tmp_path, "a")
    assert model_of(sources()["a"]) is None
    with pytest.raises(KeyError, match=r"'nobody'.*there are: .*My_model_"):
        given("nobody")


def test_an_address_opens_what_was_given_and_the_page_computes_with_it(model):
    name = give(model, "given-to-attention")
    model.name = name
    at = app_page("head_scores", model=f"local:{name}", n="8", seqs="16").run()
    drawn = fine(at)
    assert name in drawn
    assert any(f"given({name!r})" in code for code in python_of(at))


def test_hosted_nothing_that_was_given_is_opened(model, monkeypatch):
    name = give(model, "private")
    monkeypatch.setenv("LENS_HOSTED", "1")
    assert sources() == {}
    at = app_page("attention", model=f"local:{name}").run()
    assert "local model of another session" in fine(at)
    with pytest.raises(RuntimeError, match="this machine alone"):
        show(model, browser=False)


@pytest.mark.parametrize("make", [hf_gpt2, hf_llama])
def test_a_model_of_transformers_in_memory_computes_the_same(make, tokenizer):
    hf = make(vocab_size=len(tokenizer)).eval()
    model = HookedTransformer.from_transformers(hf, tokenizer, name="mine")
    tokens = torch.randint(0, len(tokenizer), (2, 9))
    torch.testing.assert_close(model(tokens), hf(tokens).logits, rtol=1e-4, atol=1e-5)
    assert model.name == "mine"
    assert model.W_E.data_ptr() == hf.get_input_embeddings().weight.data_ptr()


def test_an_edited_model_is_not_taken_for_the_one_of_its_name():
    plain = HookedTransformer.from_pretrained("planted-induction")
    plain.name = "edited-and-shown"
    give(plain, plain.name)
    forget()
    edited = HookedTransformer.from_pretrained("planted-induction")
    edited.name, edited.revision = give(edited, "edited-and-shown"), NOW
    assert edited.name == "edited-and-shown-2"  # results of the first may be kept under its name
    assert model_key(edited) != model_key(HookedTransformer.from_pretrained("planted-induction"))


def test_weights_that_are_elsewhere_are_said_to_be(tokenizer):
    with torch.device("meta"):
        away = hf_gpt2(vocab_size=len(tokenizer))
    with pytest.raises(ValueError, match="not in memory"):
        HookedTransformer.from_transformers(away)


def test_a_tied_model_stays_tied(tokenizer):
    tied = HookedTransformer.from_transformers(hf_gpt2(vocab_size=len(tokenizer), tie_word_embeddings=True))
    assert tied.cfg.tied
    assert tied.note == ""


def test_one_server_shows_all_that_this_process_gives_and_only_to_this_machine(model, tiny_llama):
    first = lens.show(model, name="first", browser=False)
    second = lens.show(tiny_llama, name="second", page="attention", browser=False)
    try:
        assert first.server is second.server
        assert second.url == f"http://localhost:{second.server.port}/attention?model=local%3Asecond"
        assert second._repr_html_().count(second.url) == 2
        with urllib.request.urlopen(f"http://{HOST}:{first.server.port}/_stcore/health", timeout=10) as answer:
            assert answer.read() == b"ok"

        async def look(name: str) -> list[str]:
            async with visitor(f"http://{HOST}:{first.server.port}") as tab:
                view = await tab.view(Place("model", (("model", f"local:{name}"),)))
                assert not view.errors
                return " ".join(view.texts)

        assert "first" in asyncio.run(look("first"))
        assert "second" in asyncio.run(look("second"))
        with pytest.raises(RuntimeError, match=f"port {first.server.port} already"):
            show(model, port=first.server.port + 1, browser=False)
    finally:
        first.stop()
    assert not first.server.is_running
    assert sources() == {}


def test_what_cannot_be_shown_is_said_in_a_sentence(capsys, tmp_path):
    assert main(["show"]) == 2
    assert "usage: lens show" in capsys.readouterr().err
    assert main(["show", "no-such-model-anywhere", "--no-browser"]) == 2
    assert "no-such-model-anywhere" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match="there is no"):
        show(tmp_path / "absent", browser=False)


def test_what_cannot_be_watched_is_said_in_a_sentence(capsys, tmp_path, monkeypatch):
    assert main(["watch"]) == 2
    assert "usage: lens watch FOLDER" in capsys.readouterr().err
    assert main(["watch", str(tmp_path / "absent"), "--no-browser"]) == 2
    assert "there is no folder" in capsys.readouterr().err
    monkeypatch.setenv("LENS_HOSTED", "1")
    with pytest.raises(RuntimeError, match=r"lens\.watch serves this machine alone"):
        lens.watch(tmp_path, browser=False)
    assert sources() == {}
