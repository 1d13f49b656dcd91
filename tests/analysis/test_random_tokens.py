import copy
import gc
import weakref

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerFast

from lens.analysis import random_tokens
from lens.analysis.random_tokens import SamplingSet, repeated_tokens, sampling_set, trim
from lens.hooked import HookedTransformer
from lens.tokens import BosPolicy
from tests.analysis.shaken import make_model


def test_sampling_set_round_trips_and_holds_no_special_token(with_tokenizer):
    chosen = sampling_set(with_tokenizer)
    ids = chosen.ids.tolist()
    tokenizer = with_tokenizer.tokenizer
    again = [
        tokenizer.encode(tokenizer.decode([i], clean_up_tokenization_spaces=False), add_special_tokens=False)
        for i in ids
    ]
    assert again == [[i] for i in ids]
    assert 0 not in ids
    assert ids == sorted(set(ids))
    assert max(ids) < len(tokenizer)
    assert f"{len(ids)} of {with_tokenizer.cfg.d_vocab}" in chosen.description
    assert "no token frequency is known" in chosen.description


def test_half_characters_are_left_out(with_tokenizer):
    half = with_tokenizer.tokenizer.encode("\u4e2d", add_special_tokens=False)
    assert len(half) > 1
    assert not set(half) & set(sampling_set(with_tokenizer).ids.tolist())


def test_a_token_that_comes_back_as_another_one_is_left_out():
    words = Tokenizer(WordLevel({"[UNK]": 0, "The": 1, "the": 2, "cat": 3}, unk_token="[UNK]"))
    words.normalizer, words.pre_tokenizer = Lowercase(), Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]")
    assert sampling_set(make_model(tokenizer, d_vocab=4)).ids.tolist() == [2, 3]


def test_special_tokens_of_either_library_are_left_out(tokenizer):
    own = copy.deepcopy(tokenizer)
    own.pad_token = "z"
    marked = own.backend_tokenizer
    marked.add_special_tokens(["<chat>"])
    ids = set(sampling_set(make_model(own, d_vocab=len(own))).ids.tolist())
    assert set(sampling_set(make_model(tokenizer, d_vocab=len(own))).ids.tolist()) - ids == {own.pad_token_id}
    assert marked.token_to_id("<chat>") not in ids


def test_the_set_is_made_once_per_model_and_dies_with_it():
    model = make_model()
    assert sampling_set(model) is sampling_set(model)
    assert "no tokenizer" in sampling_set(model).description
    assert sampling_set(model).ids.tolist() == list(range(1, 97))
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_trim_drops_both_ends_of_the_frequency_order():
    frequency = torch.rand(100)
    sampling = SamplingSet(torch.arange(0, 100, 2), "some")
    kept = trim(sampling, frequency)
    dropped = set(sampling.ids.tolist()) - set(kept.ids.tolist())
    order = sorted(sampling.ids.tolist(), key=lambda i: frequency[i])
    assert dropped == {*order[:2], *order[-2:]}
    assert kept.ids.tolist() == sorted(kept.ids.tolist())
    assert kept.description.startswith("some; of these 46, without the 5% rarest")
    with pytest.raises(ValueError, match="share"):
        trim(sampling, frequency, 0.5)


def test_counts_of_the_training_text_trim_the_set():
    model = make_model()
    model.token_counts = torch.arange(97).flip(0)  # id 96 never occurs, id 1 is the commonest
    assert sampling_set(model).ids.tolist() == list(range(5, 93))
    assert repeated_tokens(model, n=5, n_seqs=4).set_size == 88


def test_the_shipped_models_draw_no_token_they_never_read():
    model = HookedTransformer.from_pretrained("lens-2l")
    never = (model.token_counts == 0).nonzero()[:, 0]
    assert len(never) > 20
    assert not set(never.tolist()) & set(sampling_set(model).ids.tolist())


@pytest.mark.parametrize("bos", [0, 1])
def test_pairs_share_r_and_are_disjoint(model, bos):
    made = repeated_tokens(model, n=9, n_seqs=20, seed=4, prepend_bos=bool(bos))
    r, again = made.tokens[:, bos : bos + 9], made.tokens[:, bos + 9 :]
    same, s = made.control[:, bos : bos + 9], made.control[:, bos + 9 :]
    assert made.tokens.shape == made.control.shape == (20, bos + 18)
    assert torch.equal(r, again)
    assert torch.equal(r, same)
    assert all(len({*a.tolist(), *b.tolist()}) == 18 for a, b in zip(r, s))
    assert not bos or (made.tokens[:, 0] == model.bos.id).all()
    assert made.queries == range(bos + 9, bos + 18)
    assert ("no BOS" in made.description) == (not bos)
    assert made.set_size == len(sampling_set(model).ids)


def test_seeds_reproduce_and_longer_runs_begin_the_same(model):
    first, more = repeated_tokens(model, 5, 4, seed=1), repeated_tokens(model, 5, 9, seed=1)
    assert torch.equal(first.tokens, more.tokens[:4])
    assert torch.equal(first.control, more.control[:4])
    assert not torch.equal(first.tokens, repeated_tokens(model, 5, 4, seed=2).tokens)


def test_a_chosen_set_is_used(model):
    made = repeated_tokens(model, 4, sampling=SamplingSet(torch.arange(10, 18), "eight ids"))
    assert set(made.control[:, 1:].flatten().tolist()) == set(range(10, 18))
    assert "eight ids" in made.description


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 1}, "at least 2 tokens"),
        ({"n_seqs": 0}, "n_seqs=0"),
        ({"n": 32}, "use n of at most 31"),
        ({"n": 49}, "the set has 96; use n of at most 48"),
    ],
)
def test_impossible_wishes_say_what_is_possible(arguments, message):
    with pytest.raises(ValueError, match=message):
        repeated_tokens(make_model(), **arguments)


def test_no_bos_token_no_bos():
    model = make_model()
    model.bos = BosPolicy(None, "", False, "a test")
    with pytest.raises(ValueError, match="prepend_bos=False"):
        repeated_tokens(model)
    assert random_tokens.sampling_set(model).ids.tolist() == list(range(97))
