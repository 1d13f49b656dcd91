"""A file with an output matrix of its own is believed, whatever its config says of tying."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from lens import HookedTransformer
from lens.compat.transformer import HookedTransformer as Classic
from lens.families import UNTIED, family_of
from lens.load import read
from tests.families.variants import VARIANTS
from tests.load.models import save
from tests.load.test_folder import as_bin

TOKENS = torch.arange(1, 20)[None]


def _is_tied(variant):
    config = VARIANTS[variant]().config.to_dict()
    return family_of(config).config(config).tied


TIED = ["bloom", "falcon-7b", "gemma", "gemma2", "gemma3", "gemma3-with-vision", "gpt2", "gpt-neo", "gptj-tied"]
TIED += ["gpt-neox-no-bias-tied", "llama-wide-heads-tied", "mpt", "olmo-clip-biases", "opt", "qwen2"]


def with_a_head(folder, change=0.3):
    """Write an output matrix into the file, which differs from the embedding by ``change`` of a normal number."""
    file = folder / "model.safetensors"
    state = load_file(file)
    ends = ("embed_tokens.weight", "wte.weight", "word_embeddings.weight", "embed_in.weight")
    (embed,) = [name for name in state if name.endswith(ends)]
    torch.manual_seed(1)
    state["lm_head.weight"] = state[embed] + change * torch.randn_like(state[embed])
    save_file(state, file, metadata={"format": "pt"})
    return folder


def test_the_list_holds_every_tied_family():
    tied = {VARIANTS[name]().config.model_type for name in VARIANTS if _is_tied(name)}
    assert {VARIANTS[name]().config.model_type for name in TIED} == tied
    assert all(map(_is_tied, TIED))


@pytest.mark.parametrize("variant", TIED)
@torch.no_grad()
def test_logits_are_those_of_transformers(tmp_path, variant):
    hf = VARIANTS[variant]()
    folder = with_a_head(save(hf, tmp_path / "m"))
    theirs = type(hf).from_pretrained(folder, attn_implementation=hf.config._attn_implementation).eval()
    model = HookedTransformer.from_pretrained(str(folder))
    torch.testing.assert_close(model(TOKENS), theirs(TOKENS).logits, atol=2e-5, rtol=0)
    assert (model(TOKENS) - hf(TOKENS).logits).abs().max() > 0.1
    assert (model.note, model.cfg.tied) == (UNTIED, False)


@pytest.mark.parametrize("shards", [1, 3])
def test_pickles_and_shards_as_well(tmp_path, shards):
    folder = with_a_head(save(VARIANTS["gpt2"](), tmp_path / "m"))
    want = load_file(folder / "model.safetensors")["lm_head.weight"].T
    as_bin(folder, shards)
    loaded = read(str(folder))
    assert torch.equal(loaded.state["unembed.W_U"], want)
    assert loaded.note == UNTIED


def test_a_copy_of_the_embedding_is_no_other_matrix(tmp_path):
    """Also with a number that is not equal to itself; and then the two are one memory, as before."""
    folder = with_a_head(save(VARIANTS["gpt2"](), tmp_path / "m"), change=0)
    state = load_file(folder / "model.safetensors")
    for name in ("lm_head.weight", "transformer.wte.weight"):
        state[name][3, 4] = torch.nan
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    model = HookedTransformer.from_pretrained(str(folder))
    assert (model.note, model.cfg.tied) == ("", True)
    assert model.W_U.data_ptr() == model.W_E.data_ptr()


def test_a_head_of_another_size_is_named(tmp_path):
    folder = with_a_head(save(VARIANTS["gpt2"](), tmp_path / "m"))
    state = load_file(folder / "model.safetensors")
    state["lm_head.weight"] = state["lm_head.weight"][:100].clone()
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lm_head.weight' has shape \[100, 32\]"):
        read(str(folder))


@torch.no_grad()
def test_a_model_in_memory(tokenizer):
    hf = VARIANTS["gpt2"]()
    hf.lm_head.weight = torch.nn.Parameter(hf.lm_head.weight + 0.3 * torch.randn_like(hf.lm_head.weight))
    model = Classic.from_pretrained_no_processing("mine", hf_model=hf, tokenizer=tokenizer, device="cpu")
    torch.testing.assert_close(model(TOKENS), hf(TOKENS).logits, atol=2e-5, rtol=0)
    assert model.note == UNTIED


def test_what_is_ignored_and_what_is_untied_are_both_said(tmp_path):
    folder = with_a_head(save(VARIANTS["gpt2"](), tmp_path / "m"))
    config = json.loads((folder / "config.json").read_text()) | {"attention_multiplier": 0.5}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"ignore=\['attention_multiplier'\]"):
        read(str(folder))
    note = HookedTransformer.from_pretrained(str(folder), ignore=["attention_multiplier"]).note
    assert "attention_multiplier=0.5" in note
    assert UNTIED in note
