"""LoRA adapters as peft writes them: the merged model is peft's, and what is more than plain LoRA is named."""

import json
import shutil

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file

from lens import HookedTransformer
from lens.compat.transformer import HookedTransformer as Classic
from lens.load import read
from lens.load.checkpoints import checkpoints
from lens.load.identity import content_of
from tests.families.variants import VARIANTS
from tests.load.models import save

TOKENS = torch.arange(1, 20)[None]
LLAMA = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
ALL = {  # every module of the family that LoRA can change
    "llama": LLAMA,
    "llama-wide-heads-tied": LLAMA,
    "gpt2": ["c_attn", "c_proj", "c_fc"],
    "gpt-neox": ["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"],
    "gpt-neo": ["q_proj", "k_proj", "v_proj", "out_proj", "c_fc", "c_proj"],
    "gemma2": LLAMA,
    "phi3": ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"],
    "opt": ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"],
    "falcon-7b": ["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"],
}
PLAIN = {"r": 4, "lora_alpha": 12}


def adapted(hf, **settings):
    """``hf`` with an adapter whose factors are all different from zero."""
    model = peft.get_peft_model(hf, peft.LoraConfig(task_type="CAUSAL_LM", **(PLAIN | settings)))
    torch.manual_seed(2)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name or "modules_to_save" in name:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def folders(tmp_path, variant, **settings):
    """A base, an adapter of it, and the model of both."""
    base = save(VARIANTS[variant](), tmp_path / "base")
    hf = VARIANTS[variant]().from_pretrained(base, attn_implementation="eager").eval()
    model = adapted(hf, **settings)
    model.save_pretrained(tmp_path / "adapter")
    return base, tmp_path / "adapter", model


@torch.no_grad()
def same_logits(folder, theirs, base):
    model = HookedTransformer.from_pretrained(str(folder))
    torch.testing.assert_close(model(TOKENS), theirs(TOKENS).logits, atol=2e-5, rtol=0)
    assert (model(TOKENS) - HookedTransformer.from_pretrained(str(base))(TOKENS)).abs().max() > 0.01
    assert "LoRA adapter" in model.note
    return model


@pytest.mark.parametrize("variant", ALL)
def test_every_module_of_a_family(tmp_path, variant):
    base, adapter, theirs = folders(tmp_path, variant, target_modules=ALL[variant])
    same_logits(adapter, theirs, base)


@pytest.mark.parametrize(
    "settings",
    [
        {"use_rslora": True},
        {"rank_pattern": {"q_proj": 2, r"layers\.1\.mlp\.up_proj": 6}, "alpha_pattern": {"down_proj": 3}},
        {"target_modules": ["embed_tokens", "q_proj"]},
        {"target_modules": ["lm_head", "embed_tokens"]},
        {"modules_to_save": ["lm_head"]},
        {"modules_to_save": ["embed_tokens", "norm"]},
    ],
    ids=str,
)
@pytest.mark.parametrize("variant", ["llama", "llama-wide-heads-tied"])
def test_scales_ranks_embeddings_and_whole_modules(tmp_path, variant, settings):
    base, adapter, theirs = folders(tmp_path, variant, **({"target_modules": LLAMA} | settings))
    same_logits(adapter, theirs, base)


@pytest.mark.parametrize("fan_in_fan_out", [True, False])
def test_square_matrices_that_lie_the_other_way_round(tmp_path, fan_in_fan_out):
    """GPT-2's c_proj is [32, 32]: no shape tells which axis is the input, and peft goes by the layer, not the flag."""
    base, adapter, theirs = folders(tmp_path, "gpt2", target_modules=["c_proj"], fan_in_fan_out=fan_in_fan_out)
    same_logits(adapter, theirs, base)


def test_beside_its_base_as_pickle_and_with_a_path_from_its_own_folder(tmp_path):
    base, adapter, theirs = folders(tmp_path, "llama", target_modules=LLAMA)
    both = shutil.copytree(base, tmp_path / "both")
    shutil.copytree(adapter, both, dirs_exist_ok=True)
    same_logits(both, theirs, base)
    torch.save(load_file(adapter / "adapter_model.safetensors"), adapter / "adapter_model.bin")
    (adapter / "adapter_model.safetensors").unlink()
    configure(adapter, base_model_name_or_path="../base")
    same_logits(adapter, theirs, base)


def configure(folder, **changes):
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_the_tokenizer_of_the_adapter_counts_if_it_brings_one(tmp_path, tokenizer):
    _, adapter, _ = folders(tmp_path, "llama", target_modules=LLAMA)
    assert read(str(adapter)).tokenizer is None
    tokenizer.save_pretrained(tmp_path / "base")
    assert read(str(adapter)).tokenizer.encode("a b") == tokenizer.encode("a b")
    tokenizer.save_pretrained(adapter)
    shutil.copy(adapter / "tokenizer.json", tmp_path / "base")
    assert read(str(adapter)).tokenizer.encode("a b") == tokenizer.encode("a b")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"use_dora": True}, "use_dora=True"),
        ({"bias": "all"}, "bias='all'"),
        ({"lora_bias": True}, "lora_bias=True"),
        ({"peft_type": "IA3"}, "peft_type='IA3'"),
        ({"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 8}, "PROMPT_TUNING"),
        ({"peft_type": None}, "peft_type=None"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights='pissa'"),
        ({"layer_replication": [[0, 2]]}, "layer_replication"),
        ({"trainable_token_indices": [3]}, "trainable_token_indices"),
        ({"something_new": 1}, "something_new=1"),
        ({"r": 3}, "rank 4"),
        ({"r": None}, "lacks r or lora_alpha"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_more_than_plain_lora_is_named(tmp_path, changes, named):
    _, adapter, _ = folders(tmp_path, "llama", target_modules=LLAMA)
    configure(adapter, **changes)
    with pytest.raises(ValueError, match=named):
        read(str(adapter))


def test_an_adapter_of_another_model_is_named(tmp_path):
    _, adapter, _ = folders(tmp_path, "llama", target_modules=LLAMA)
    file = adapter / "adapter_model.safetensors"
    whole = load_file(file)
    first = next(iter(whole))
    save_file({name: tensor for name, tensor in whole.items() if name != first}, file)
    with pytest.raises(ValueError, match="one factor"):
        read(str(adapter))
    save_file(whole | {"base_model.model.score.weight": torch.ones(2, 32)}, file)
    with pytest.raises(ValueError, match=r"changes score\.weight"):
        read(str(adapter))
    wider = {name: torch.cat([x, x], -1) if "lora_A" in name else x for name, x in whole.items()}
    save_file(wider, file)
    with pytest.raises(ValueError, match=r"shape \[32, 64\], the base's tensor \[32, 32\]"):
        read(str(adapter))
    save_file({}, file)
    with pytest.raises(ValueError, match="holds no tensors"):
        read(str(adapter))


def test_what_is_not_on_this_machine_is_named(tmp_path):
    base, adapter, _ = folders(tmp_path, "llama", target_modules=LLAMA)
    shutil.rmtree(base)
    for name in (str(base), "somebody/base", None):
        configure(adapter, base_model_name_or_path=name)
        with pytest.raises(FileNotFoundError, match="not on this machine"):
            read(str(adapter))
    (adapter / "adapter_model.safetensors").unlink()
    save(VARIANTS["llama"](), adapter)
    with pytest.raises(FileNotFoundError, match=r"without adapter_model\.safetensors"):
        read(str(adapter))


def test_repositories_of_the_hub(tmp_path, fake_hub):
    """One that holds its base as well is merged; one that does not is named, and no path in it is followed."""
    base, adapter, theirs = folders(tmp_path, "llama", target_modules=LLAMA)
    fake_hub.add("somebody/adapter", adapter)
    with pytest.raises(ValueError, match="an adapter without its base"):
        read("somebody/adapter")
    fake_hub.add("somebody/both", shutil.copytree(base, adapter, dirs_exist_ok=True))
    same_logits("somebody/both", theirs, base)


def test_checkpoints_of_a_run_that_saved_adapters(tmp_path):
    """Each is the base with its own change, and results of one are never taken for those of another."""
    _, adapter, theirs = folders(tmp_path, "llama", target_modules=LLAMA)
    for step, scale in ((10, 0.0), (20, 1.0)):
        folder = shutil.copytree(adapter, tmp_path / "run" / f"checkpoint-{step}")
        state = load_file(folder / "adapter_model.safetensors")
        save_file({name: scale * tensor for name, tensor in state.items()}, folder / "adapter_model.safetensors")
    found = checkpoints(str(tmp_path / "run"))
    assert found.labels == (10, 20)
    assert content_of(found, 0) != content_of(found, 1)
    model = HookedTransformer.from_pretrained(found, checkpoint_index=0)
    model.load_checkpoint(1, of=found)
    with torch.no_grad():
        torch.testing.assert_close(model(TOKENS), theirs(TOKENS).logits, atol=2e-5, rtol=0)


class TestInMemory:
    @pytest.mark.parametrize("settings", [{}, {"use_dora": True}, {"modules_to_save": ["lm_head"]}], ids=str)
    @torch.no_grad()
    def test_it_is_merged_and_stays_as_it_was(self, settings):
        theirs = adapted(VARIANTS["llama"](), target_modules=LLAMA, **settings)
        want, names = theirs(TOKENS).logits, set(theirs.state_dict())
        model = Classic.from_pretrained_no_processing("mine", hf_model=theirs, device="cpu")
        torch.testing.assert_close(model(TOKENS), want, atol=2e-5, rtol=0)
        assert "LORA adapter was merged" in model.note
        assert set(theirs.state_dict()) == names
        assert torch.equal(theirs(TOKENS).logits, want)

    @pytest.mark.parametrize("kind", ["prompt", "added", "switched off"])
    def test_what_is_no_sum_of_weights_is_named(self, kind):
        theirs = VARIANTS["llama"]()
        if kind == "prompt":
            config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
            theirs, named = peft.get_peft_model(theirs, config), "PROMPT_TUNING"
        elif kind == "added":
            theirs.add_adapter(peft.LoraConfig(target_modules=["q_proj"]))
            named = "cannot be merged from where it is"
        else:
            theirs, named = adapted(theirs, target_modules=["q_proj"]), "switched off"
            theirs.base_model.disable_adapter_layers()
        with pytest.raises(ValueError, match=named):
            Classic.from_pretrained_no_processing("mine", hf_model=theirs, device="cpu")
