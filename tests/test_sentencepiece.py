"""Vocabularies whose pieces hold the space: labels, search, single tokens and continuations keep it.

The real one is Mistral's first, a SentencePiece model like that of Llama 2, from the package mistral-common.
"""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import torch

from lens import HookedTransformer
from lens.analysis.vocabulary import containing, cut, spellings, vocabulary
from lens.compat.transformer import HookedTransformer as Classic
from lens.load.tokenizer import bos_policy, read_tokenizer
from lens.pieces import CutCharacter, cut_characters, say_cut, token_bytes
from tests.helpers import hf_llama, in_lens, sentencepiece_tokenizer

TEXTS = (
    "Mary",
    "When Mary and John went to the store,\nJohn gave a drink",
    "  two  spaces ",
    "naïve café: 你好, مرحبا 😀 𓀀",
    "def f(x):\n\treturn x",
)
HIEROGLYPH = "𓀀"  # no piece of the real vocabulary


def real_vocabulary() -> Path:
    """The SentencePiece file in the installed package, which is found, never imported."""
    (folder,) = importlib.util.find_spec("mistral_common").submodule_search_locations
    return Path(folder) / "data" / "tokenizer.model.v1"


def opened(tokenizer) -> HookedTransformer:
    hf = hf_llama(vocab_size=len(tokenizer), num_hidden_layers=1, max_position_embeddings=128)
    return in_lens(hf, tokenizer, bos_policy(None, tokenizer))


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> HookedTransformer:
    """A tiny model with the real vocabulary, read from the folder of a model that has nothing but that file."""
    folder = tmp_path_factory.mktemp("mistral")
    shutil.copy(real_vocabulary(), folder / "tokenizer.model")
    (folder / "config.json").write_text(json.dumps({"model_type": "mistral"}))
    return opened(read_tokenizer(folder, {}))


SMALL = [(kind, legacy) for kind in ("bpe", "unigram") for legacy in (False, True)]


@pytest.fixture(scope="module", params=["real", *SMALL], ids=str)
def model(request, real) -> HookedTransformer:
    return real if request.param == "real" else opened(sentencepiece_tokenizer(*request.param))


def test_labels_joined_give_the_text_back(model):
    """After the one space that the tokenizer puts in front, and none where the text begins with one of its own."""
    for text in TEXTS:
        ids = model.to_tokens(text, prepend_bos=False)[0].tolist()
        written = b"".join(token_bytes(model.tokenizer, i) for i in ids).decode()
        assert written in (text, f" {text}")
        strings = model.to_str_tokens(text, prepend_bos=False)
        assert len(strings) == len(ids)
        assert not any("\ufffd" in string for string in strings)
        if all(len(string) == 1 or "⟨" not in string for string in strings):
            assert "".join(strings) == written


def test_a_word_has_the_space_before_it(model):
    assert model.to_str_tokens("Mary and John", prepend_bos=False) == [" Mary", " and", " John"]
    assert model.to_str_tokens("Mary")[0] == "<s>"
    assert model.to_tokens("Mary went").tolist() == model.to_tokens(["Mary went"]).tolist()


def test_a_single_token_is_the_one_in_the_middle_of_a_text(model):
    for text in (" Mary", " John", " and", "and"):
        assert model.to_single_str_token(model.to_single_token(text)) == text
    assert model.to_single_token(" and") != model.to_single_token("and")
    after = model.to_tokens("John and Mary", prepend_bos=False)[0]
    assert model.to_single_token(" Mary") == after[-1]
    with pytest.raises(ValueError, match=r"2 tokens \(·Mary \| ·went\)"):
        model.to_single_token(" Mary went")


def test_positions_of_a_word_with_and_without_its_space(model):
    text = "Mary and John and Mary"
    assert model.get_token_position(" Mary", text) == model.get_token_position(" Mary", text, prepend_bos=False) + 1
    assert model.get_token_position(" Mary", text, mode="last") == model.to_tokens(text).shape[1] - 1
    assert model.get_token_position(" John", text) == 3


def test_a_word_that_the_text_begins_with_is_found_without_its_space(real):
    assert real.get_token_position("Claire", "Claire went") == 1


def test_the_vocabulary_is_searched_with_its_spaces(model):
    strings = vocabulary(model)
    for word in (" Mary", " John", " and", " went", "and"):
        assert strings[containing(strings, word)[0]] == word
    assert containing(strings, "▁") == []
    assert strings[model.tokenizer.convert_tokens_to_ids("<0xE4>")] == "⟨e4⟩"


def test_a_text_is_cut_with_and_without_its_space(model):
    assert cut(model, " Mary went").pieces == [" Mary", " went"]
    assert [one.pieces for one in spellings(model, "and")] == [["and"], [" and"]]
    assert cut(model, "").ids == []


def test_a_continuation_keeps_the_space_before_its_first_word(model):
    """The unembedding is made to want one token: what is written must be its text, after the prompt's."""
    with torch.no_grad():
        loud = HookedTransformer.from_state(
            model.cfg, dict(model.state_dict()), tokenizer=model.tokenizer, bos=model.bos
        )
        loud.unembed.b_U = torch.nn.Parameter(model.unembed.b_U.clone())
        loud.unembed.b_U[model.to_single_token(" went")] = 1e4
    assert loud.generate("Mary and John", 2, temperature=0) == "Mary and John went went"
    assert loud.generate(["Mary", "John and Mary"], 1, temperature=0) == ["Mary went", "John and Mary went"]
    classic = Classic.of(loud)
    assert classic.generate("Mary and John", 2, do_sample=False) == "Mary and John went went"
    assert classic.generate(loud.to_tokens("Mary"), 1, do_sample=False, return_type="str").endswith("Mary went")


def test_a_character_that_began_in_the_prompt_is_finished(real):
    ids = real.tokenizer.encode(HIEROGLYPH, add_special_tokens=False)
    assert real.continuation(ids[:-2], ids[-2:]) == HIEROGLYPH


def test_bytes_of_one_character_are_said_together(real):
    ids = real.to_tokens(f"a {HIEROGLYPH} b")[0].tolist()
    first = real.to_str_tokens(ids).index("⟨f0⟩")
    assert real.to_str_tokens(ids)[first : first + 4] == ["⟨f0⟩", "⟨93⟩", "⟨80⟩", "⟨80⟩"]
    found = cut_characters(real.tokenizer, ids)
    assert found == [CutCharacter(HIEROGLYPH, first, first + 3, ("f0", "93", "80", "80"))]
    assert f"{HIEROGLYPH} is ⟨f0⟩ ⟨93⟩ ⟨80⟩ ⟨80⟩, tokens {first} to {first + 3}." in say_cut(found)
    assert say_cut(cut_characters(real.tokenizer, real.to_tokens("plain")[0].tolist())) == ""


def test_tokens_that_are_no_row_of_the_vocabulary_show_their_id(real):
    assert real.to_str_tokens(torch.tensor([real.to_single_token(" Mary"), 40_000])) == [" Mary", "⟨id 40000⟩"]
