"""Which BOS stands first, two of them, empty texts and models without a tokenizer, through the classic door."""

import pytest
import torch

from lens.compat.datasets import tokenize_and_concatenate
from lens.compat.evals import induction_loss
from lens.compat.transformer import HookedTransformer
from lens.load.tokenizer import bos_policy, kept_policy
from lens.tokens import NO_BOS, BosPolicy
from tests.helpers import byte_tokenizer, hf_gpt2, hf_llama, in_lens

TEXT = "The cat sat on the mat."
POLICY = BosPolicy(70, "a", True, "this model was trained with it, whatever its tokenizer says")


@pytest.fixture
def tokenizer():
    """One whose own BOS is another token than that of the policy."""
    made = byte_tokenizer()
    return made, POLICY._replace(id=made.convert_tokens_to_ids("a"))


@pytest.fixture
def model(tokenizer):
    """A model whose policy is not its tokenizer's."""
    made, policy = tokenizer
    return HookedTransformer.of(in_lens(hf_gpt2(vocab_size=len(made), n_positions=128), made, policy))


class TestOnePolicy:
    def test_the_tokenizer_names_the_token_that_the_model_puts_first(self, model, tokenizer):
        assert tokenizer[0].bos_token == "<bos>"  # the one that was given is left as it is
        assert model.tokenizer.bos_token_id == model.bos.id == model.to_tokens(TEXT)[0, 0]
        assert model.tokenizer.encode(TEXT) == tokenizer[0].encode(TEXT)

    def test_corpora_begin_with_it(self, model):
        rows = tokenize_and_concatenate([{"text": TEXT * 3}], model.tokenizer, max_length=8)
        assert {int(row["tokens"][0]) for row in rows} == {model.bos.id}

    def test_repeated_tokens_begin_with_it_whichever_tokenizer_is_given(self, model, tokenizer):
        losses = []
        for given in (None, tokenizer[0], model.tokenizer):
            torch.manual_seed(0)
            losses.append(induction_loss(model, given, subseq_len=20).item())
        assert losses == [losses[0]] * 3

    def test_another_tokenizer_keeps_it(self, model, tokenizer):
        other = byte_tokenizer(280)
        model.set_tokenizer(other)
        assert model.bos.token == model.tokenizer.bos_token == "a"
        assert model.bos.id == other.convert_tokens_to_ids("a")
        assert model.bos.reason == POLICY.reason

    def test_one_that_has_no_such_token_brings_its_own(self, tokenizer):
        made, policy = tokenizer
        assert kept_policy(policy._replace(token="<start>"), made) == bos_policy(None, made)
        assert kept_policy(NO_BOS, made) == bos_policy(None, made)
        assert kept_policy(policy, None).id is None

    def test_a_tokenizer_that_is_given_with_a_name_keeps_it_too(self):
        """lens-1l's policy names <|endoftext|>; this tokenizer has it, and calls another token its BOS."""
        from lens import HookedTransformer as Plain

        given = Plain.from_pretrained("lens-1l").tokenizer
        given.bos_token = "a"
        model = HookedTransformer.from_pretrained_no_processing("lens-1l", tokenizer=given, device="cpu")
        assert model.to_str_tokens(TEXT)[0] == "<|endoftext|>"
        assert model.tokenizer.bos_token == "<|endoftext|>"

    def test_a_model_in_memory_that_is_known_by_name_takes_its_policy(self, tokenizer):
        """Also where the table names no token, but says that the tokenizer's own stays away."""
        made, _ = tokenizer
        theirs = hf_llama(vocab_size=len(made))
        model = HookedTransformer.from_pretrained_no_processing(
            "bloom-560m", hf_model=theirs, tokenizer=made, device="cpu"
        )
        from lens.load.catalogue import resolve

        start = resolve("bloom-560m").start
        assert (model.bos.prepend, model.bos.reason) == (start.prepend, start.reason)


class TestTwo:
    def test_two_are_said_once_for_each_text(self, model, capsys):
        model.to_tokens(TEXT)
        model.to_tokens("a cat", prepend_bos=False)
        assert capsys.readouterr().out == ""
        model.to_tokens("a cat")
        said = capsys.readouterr().out
        assert said.count("stands twice at the beginning") == 1
        assert said == model.two_bos(model.all_ids("a cat")) + "\n"

    def test_the_sentence_is_about_the_first_two_ids(self, model):
        bos = model.bos.id
        assert model.two_bos([bos, bos, 5]) != ""
        assert model.two_bos([bos, 5, bos]) == model.two_bos([bos]) == model.two_bos([]) == ""


def test_an_empty_text_without_bos_has_no_tokens(model):
    assert model.to_str_tokens("", prepend_bos=False) == []
    assert model.to_str_tokens(["", TEXT], prepend_bos=False)[0] == []
    assert model.to_str_tokens("") == ["a"]
    with pytest.raises(ValueError, match="The text is empty"):
        model.to_tokens("", prepend_bos=False)


def test_a_model_from_a_folder_without_a_tokenizer_opens(tmp_path):
    from transformers import GPT2LMHeadModel

    hf_gpt2().save_pretrained(tmp_path)
    theirs = GPT2LMHeadModel.from_pretrained(tmp_path)
    tokens = torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        for model in (
            HookedTransformer.from_pretrained("mine", hf_model=theirs, device="cpu"),
            HookedTransformer.from_pretrained_no_processing("mine", hf_model=theirs, device="cpu"),
        ):
            got, want = model(tokens).log_softmax(-1), theirs(tokens).logits.log_softmax(-1)
            torch.testing.assert_close(got, want, atol=2e-4, rtol=0)
            assert model.tokenizer is None
    with pytest.raises(ValueError, match="has no tokenizer"):
        model.to_tokens(TEXT)
