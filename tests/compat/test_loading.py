"""``from_pretrained`` with the classic flags, from memory and from a folder."""

import pytest
import torch

from lens import Config
from lens.compat import loading_from_pretrained as loading
from lens.compat.transformer import HookedTransformer
from tests.families.variants import VARIANTS
from tests.helpers import hf_gpt2, hf_llama

TOKENS = torch.tensor([[1, 2, 3, 4, 5]])
RAW = dict.fromkeys(loading.STEPS, False)


@pytest.mark.parametrize("make", [hf_gpt2, hf_llama])
@torch.no_grad()
def test_a_model_in_memory(make, tokenizer):
    theirs = make(vocab_size=len(tokenizer))
    model = HookedTransformer.from_pretrained_no_processing(
        "my-model", hf_model=theirs, tokenizer=tokenizer, device="cpu"
    )
    torch.testing.assert_close(model(TOKENS), theirs(TOKENS).logits, atol=2e-5, rtol=0)
    assert model.cfg.model_name == "my-model"
    assert model.tokenizer is tokenizer
    assert model("a b").shape[0] == 1
    before = model.W_E.clone()
    with torch.no_grad():
        theirs.get_input_embeddings().weight.zero_()
    assert torch.equal(model.W_E, before)


@torch.no_grad()
def test_a_folder_with_flags_in_their_classic_order(tmp_path, tokenizer):
    theirs = hf_gpt2(vocab_size=len(tokenizer))
    theirs.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model = HookedTransformer.from_pretrained(
        str(tmp_path), False, False, False, device="cpu", fold_value_biases=False, dtype="float64",
        default_prepend_bos=False, default_padding_side="left",
    )  # fmt: skip
    assert model.W_E.dtype == model.cfg.dtype == torch.float64
    assert model.to_tokens("a b").tolist() == [tokenizer.encode("a b", add_special_tokens=False)]
    assert model.default_padding_side == "left"
    assert model.cfg.processing == dict.fromkeys(loading.STEPS, "not asked for")
    torch.testing.assert_close(model(TOKENS).float(), theirs(TOKENS).logits, atol=2e-5, rtol=0)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"n_devices": 2}, "one device"),
        ({"trust_remote_code": True}, "runs no code"),
        ({"first_n_layers": 2}, "stop_at_layer"),
        ({"fold_layernorm": True}, "no argument 'fold_layernorm'"),
    ],
)
def test_what_from_pretrained_does_not_take(flags, said):
    with pytest.raises(ValueError, match=said):
        HookedTransformer.from_pretrained("gpt2", **flags)


SIZES = {"n_layers": 2, "n_heads": 2, "d_model": 8, "d_head": 4, "d_vocab": 11, "n_ctx": 8, "d_mlp": 16}


def test_steps_that_would_change_probabilities_are_known():
    def exact(**changes):
        return [step for step in loading.STEPS if loading.why_inexact(Config(**(SIZES | changes)), step) is None]

    assert exact() == list(loading.STEPS)
    assert exact(norm="RMS", positions="rotary") == ["fold_ln", "center_unembed", "fold_value_biases"]
    assert "center_unembed" not in exact(final_softcap=3.0)
    assert "center_writing_weights" not in exact(final_rms=True)
    assert "center_writing_weights" not in exact(post_norm=True)
    assert "fold_value_biases" not in exact(clip_qkv=1.0)
    assert exact(positions="shortformer") == ["center_unembed", "fold_value_biases"]
    assert "refactor_factored_attn_matrices" not in exact(n_kv_heads=1)


def test_an_inexact_step_is_refused_when_asked_for(grouped):
    with pytest.raises(ValueError, match=r"center_writing_weights=True.*subtracts its mean"):
        loading.process(loading.plain(grouped), **(RAW | {"center_writing_weights": True}))
    with pytest.raises(ValueError, match="Unknown processing step fold"):
        loading.process(loading.plain(grouped), fold=True)
    done = loading.process(loading.plain(grouped), **RAW)
    assert set(done.report) == set(loading.STEPS)


@torch.no_grad()
def test_processing_changes_no_probability(each):
    """Folded, centred and refactored: the same next-token distribution, and the report says what was done."""
    done = loading.process(loading.plain(each))
    torch.testing.assert_close(done.model(TOKENS).log_softmax(-1), each(TOKENS).log_softmax(-1), atol=2e-5, rtol=0)
    assert done.report["fold_ln"] == "applied"
    assert done.report["refactor_factored_attn_matrices"] != "applied"
    classic = HookedTransformer.of(done.model, processing=done.report)
    assert classic.cfg.normalization_type == f"{classic.cfg.norm}Pre"


@torch.no_grad()
def test_the_exact_half_of_refactoring_is_done_and_the_rest_is_said(tmp_path, capsys):
    """Rotary positions act between query and key, so QK cannot be split anew; OV can, as the orthogonal W_V shows."""
    theirs = VARIANTS["gpt-neox"]()
    theirs.save_pretrained(tmp_path)
    model = HookedTransformer.from_pretrained(str(tmp_path), refactor_factored_attn_matrices=True, device="cpu")
    assert "left out for queries and keys (QK), because positions act between query and key" in capsys.readouterr().out
    assert "values and outputs" in model.cfg.processing["refactor_factored_attn_matrices"]
    want = theirs(TOKENS).logits.log_softmax(-1)
    torch.testing.assert_close(model(TOKENS).log_softmax(-1), want, atol=2e-5, rtol=0)
    gram = model.W_V[0, 1].mT @ model.W_V[0, 1]
    torch.testing.assert_close(gram, torch.eye(len(gram)), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("asked", "index"), [({"checkpoint_index": -1}, -1), ({"checkpoint_index": 0}, 0)])
def test_the_value_of_a_checkpoint_that_was_asked_for_by_its_index(asked, index):
    cfg = HookedTransformer.from_pretrained_no_processing("lens-1l", device="cpu", **asked).cfg
    labels, kind = loading.get_checkpoint_labels("lens-1l")
    assert (cfg.checkpoint_index, cfg.checkpoint_value, cfg.checkpoint_label_type) == (index, labels[index], kind)
    by_value = HookedTransformer.from_pretrained_no_processing("lens-1l", device="cpu", checkpoint_value=labels[2]).cfg
    assert (by_value.checkpoint_index, by_value.checkpoint_value) == (2, labels[2])
    assert HookedTransformer.from_pretrained_no_processing("lens-1l", device="cpu").cfg.checkpoint_value is None


def test_names():
    assert loading.get_official_model_name("gpt2-small") == loading.get_official_model_name("GPT2")
    assert "gpt2" in loading.DEFAULT_MODEL_ALIASES
    assert len(loading.OFFICIAL_MODEL_NAMES) == len(loading.DEFAULT_MODEL_ALIASES)
