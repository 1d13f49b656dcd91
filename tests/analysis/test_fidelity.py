"""The fidelity card: green on every structure, red with the number when something is wrong."""

import copy
import importlib.util
import math

import pytest
import torch

from lens import HookedTransformer
from lens.analysis import checks, fidelity, reference
from lens.analysis.fidelity import (
    CHECKS,
    LONGEST,
    against_transformers,
    fidelity_check,
    folded_against_raw,
    logits_against,
    one_run,
)
from lens.load.catalogue import wheel_file
from lens.load.entries import SMOLLM2_INSTRUCT
from lens.load.ram import MachineMemory
from tests.analysis.shaken import GROUPED, make_model
from tests.families.variants import VARIANTS
from tests.helpers import hf_llama, in_lens
from tests.load.models import save, write_gguf
from tests.load.toys import new_repository, toy

# One of each structure that a check treats differently; the identities of all families are tested elsewhere.
STRUCTURES = (
    *("gpt2-inverse-layer", "gpt-neo", "opt", "gptj", "bloom", "llama-yarn", "mistral", "qwen3", "gemma2"),
    *("gemma3-scaled-capped", "phi-qk-norm-grouped", "falcon-7b", "olmo-clip-biases", "olmo2", "mpt-clip-six-heads"),
)
TOYS = {
    "solu": {"act_fn": "solu_ln", "normalization": "LN", "attn_only": False},
    "attention-only": {"act_fn": "gelu", "normalization": "LN", "attn_only": True},
    "shortformer": {"act_fn": "gelu", "normalization": None, "attn_only": True, "shortformer_pos": True},
    "shortformer-with-norms": {"act_fn": "solu_ln", "normalization": "LN", "attn_only": False, "shortformer_pos": True},
    "rms-at-the-end": {"act_fn": "solu_ln", "normalization": "LN", "attn_only": False, "final_rms": True},
}
TOY_SIZE = {"n_layers": 2, "n_heads": 4, "d_model": 24, "d_head": 6, "n_ctx": 64, "d_mlp": 96, "d_vocab": 113}


@pytest.fixture(scope="module")
def tokens():
    return torch.randint(0, 97, (1, 17), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def model() -> HookedTransformer:
    """A shaken model that the test may break."""
    return make_model()


def red(check: checks.Check) -> bool:
    """Not passed, and by a margin that no rounding explains."""
    return check.passed is False and not check.value <= 3 * check.tolerance


@pytest.mark.parametrize("name", STRUCTURES)
def test_every_structure_is_green_against_hugging_face_as_well(name, tokens):
    hf = VARIANTS[name]()
    model = in_lens(hf)
    with torch.no_grad():
        theirs = logits_against(one_run(model, tokens), hf(tokens).logits, "theirs")
    found = fidelity.fidelity(model, tokens)
    assert found.keys() == CHECKS.keys()
    assert "was not opened from files" in found.pop("hugging_face").missing
    for check in (theirs, *found.values()):
        assert check.passed is True, check
        assert check.value <= 0.3 * check.tolerance or check.tolerance == 0, check
        assert check.claim
        assert check.why


@pytest.mark.parametrize("name", TOYS)
def test_toy_structures_are_green_and_what_does_not_apply_says_why(name, tokens):
    found = fidelity.fidelity(toy({**TOY_SIZE, **TOYS[name]}), tokens)
    missing = {key: check.missing for key, check in found.items() if check.passed is None}
    assert all(check.passed is not False for check in found.values()), found
    attn_only = TOYS[name]["attn_only"]
    assert set(missing) == ({"hugging_face", "mlps"} if attn_only else {"hugging_face"})
    if attn_only:
        assert missing["mlps"] == "the model has attention layers only"
    if "shortformer" in name:
        assert "fold_layer_norm (" in found["folded"].claim.split("Not applied")[1]


def test_one_at_a_time_is_the_same_as_all(model, tokens):
    together = fidelity.fidelity(model, tokens)
    assert {name: fidelity_check(name, model, tokens) for name in CHECKS} == together


def test_a_wrong_scale_of_the_scores_is_red_in_its_layer(model, tokens):
    model.blocks[1].attn.scale *= 1.001
    check = checks.patterns(one_run(model, tokens))
    assert red(check)
    assert check.where == "layer 1"


@pytest.mark.parametrize("slip", ["rotary_base", "rotary_dim", "rotary_adjacent"])
def test_a_wrong_rotation_is_red(slip, tokens):
    model, other = make_model(**GROUPED), {"rotary_base": 9_000.0, "rotary_dim": 4, "rotary_adjacent": True}
    right = make_model(**GROUPED, **{slip: other[slip]})
    for module in right.modules():  # the weights and the forward of one structure under the config of another
        if "cfg" in vars(module):
            module.cfg = model.cfg
    right.places = lambda *args: make_model(**GROUPED, **{slip: other[slip]}).places(*args)
    assert checks.patterns(one_run(model, tokens)).passed
    assert red(checks.patterns(one_run(right, tokens)))


def test_a_wrong_activation_function_is_red_in_its_layer(model, tokens):
    model.blocks[2].mlp.act_fn = torch.nn.functional.gelu  # the model's is the tanh form
    check = checks.mlps(one_run(model, tokens))
    assert red(check)
    assert check.where == "layer 2"
    assert checks.patterns(one_run(model, tokens)).passed


def test_rows_that_do_not_sum_to_one_and_a_glance_ahead_are_red(model, tokens):
    def ahead(pattern, hook):
        pattern[:, 1, 3, 5] += 1e-4

    with model.hooks([("blocks.1.attn.hook_pattern", ahead)]):
        run = one_run(model, tokens)
        rows, causal = checks.rows_sum_to_one(run), checks.causal(run)
    assert red(rows)
    assert red(causal)
    assert rows.where == causal.where == "layer 1"
    assert causal.value == pytest.approx(1e-4)


def test_a_key_outside_the_window_is_red(tokens):
    model = make_model(windows=(4, None, 4))

    def too_far(pattern, hook):
        pattern[:, 0, 9, 5] += 1e-3

    with model.hooks([("blocks.2.attn.hook_pattern", too_far)]):
        check = checks.causal(one_run(model, tokens))
    assert red(check)
    assert "outside its window" in check.claim


def test_a_write_that_nothing_accounts_for_is_red(model, tokens):
    def push(resid, hook):
        resid += 0.01

    with model.hooks([("blocks.1.hook_resid_post", push)]), torch.no_grad():
        assert not red(fidelity.components(one_run(model, tokens)))  # LayerNorm subtracts a constant

    def push_one(resid, hook):
        resid[..., 0] += 0.01

    with model.hooks([("blocks.1.hook_resid_post", push_one)]), torch.no_grad():
        assert red(fidelity.components(one_run(model, tokens)))


def test_one_changed_weight_of_the_folded_copy_is_red(model, tokens):
    run, processed = one_run(model, tokens), fidelity.fold_layer_norm(model)
    assert folded_against_raw(run, processed, "folded").passed
    broken = copy.deepcopy(processed)
    with torch.no_grad():
        broken.blocks[0].attn.W_V[1, 3, 2] += 0.01
        assert red(folded_against_raw(run, broken, "folded"))


def test_numbers_that_are_no_numbers_are_red(model, tokens):
    with torch.no_grad():
        model.blocks[1].mlp.W_out[3, 4] = torch.nan
    found = fidelity.fidelity(model, tokens)
    assert found["finite"].passed is False
    assert found["finite"].where == "blocks.1.mlp.W_out"
    for name in ("folded", "components", "mlps", "patterns", "rows"):
        assert found[name].passed is False, name
    assert math.isnan(found["folded"].value)


def test_a_weight_of_another_format_is_named(model, tokens):
    run = one_run(model, tokens)
    model.blocks[0].attn.W_O.data = model.blocks[0].attn.W_O.data.bfloat16()
    check = checks.number_format(run)
    assert (check.passed, check.value, check.where) == (False, 1.0, "blocks.0.attn.W_O")


def test_coarse_formats_say_why_most_checks_are_left_out(tokens):
    found = fidelity.fidelity(make_model().to(torch.bfloat16), tokens)
    assert {name for name, check in found.items() if check.passed} == {"rows", "causal", "finite", "number_format"}
    assert all("open it in float32" in check.missing for check in found.values() if check.passed is None)


def test_only_the_first_tokens_of_one_text_are_read(model):
    assert one_run(model, torch.zeros(1, 60, dtype=torch.long)).logits.shape[1] == LONGEST
    assert fidelity_check("components", model, torch.zeros(1, 1, dtype=torch.long)).passed
    with pytest.raises(ValueError, match="wanted one text"):
        fidelity.fidelity(model, torch.zeros(2, 5, dtype=torch.long))


def test_progress_may_stop_it(model, tokens):
    class Stop(Exception):
        pass

    def stop(fraction, stage):
        assert 0 <= fraction < 1
        if stage == "mlps":
            raise Stop

    with pytest.raises(Stop):
        fidelity.fidelity(model, tokens, stop)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save(hf_llama(num_key_value_heads=2), tmp_path_factory.mktemp("files") / "llama")


def test_the_files_of_a_folder_are_opened_by_transformers_too(folder, tokens):
    model = HookedTransformer.from_pretrained(str(folder))
    check = against_transformers(one_run(model, tokens))
    assert check.passed, check
    with torch.no_grad():
        model.blocks[1].mlp.W_in[3, 4] += 0.01
        assert red(against_transformers(one_run(model, tokens)))


def test_a_gguf_is_opened_by_transformers_own_reader(tmp_path, tokens, monkeypatch):
    monkeypatch.setenv("LENS_CACHE", str(tmp_path / "cache"))
    hf = hf_llama(num_key_value_heads=2, vocab_size=263)
    model = HookedTransformer.from_pretrained(str(write_gguf(tmp_path / "tiny.gguf", hf)))
    check = against_transformers(one_run(model, tokens))
    assert check.passed, check
    assert "tiny.gguf by its own reader" in check.claim


def test_without_accelerate_the_converted_copy_is_opened_and_that_is_said(monkeypatch):
    find, path = importlib.util.find_spec, wheel_file(SMOLLM2_INSTRUCT.wheel)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "accelerate" else find(name))
    found = reference._of_gguf(path)
    assert found.gguf is None
    assert (found.folder / "config.json").is_file()
    assert "so the conversion is not checked" in found.words


def test_toy_files_have_no_reference(tmp_path, tokens):
    new_repository(tmp_path / "toy", d_vocab=113)
    model = HookedTransformer.from_pretrained(str(tmp_path / "toy"))
    assert "transformers does not know this architecture" in against_transformers(one_run(model, tokens)).missing


def test_files_that_are_gone_and_a_full_machine_are_sentences(tmp_path, tokens, monkeypatch):
    model = HookedTransformer.from_pretrained(str(save(hf_llama(), tmp_path / "gone")))
    (tmp_path / "gone" / "model.safetensors").unlink()
    assert "transformers cannot open these files" in against_transformers(one_run(model, tokens)).missing
    monkeypatch.setattr(fidelity, "machine_memory", lambda: MachineMemory(10_000, 1_000))
    for check in (against_transformers, fidelity.folded):
        assert "a second copy of the weights takes" in check(one_run(model, tokens)).missing
