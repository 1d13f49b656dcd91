"""Notebooks as people wrote them, with one line put before, on tiny models. Their results are checked another way."""

import runpy
from pathlib import Path

import pytest
import torch

from lens import compat
from lens.compat.transformer import HookedTransformer
from tests.helpers import hf_gpt2, hf_llama

NOTEBOOKS = Path(__file__).parent / "notebooks"


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def folder(request, tmp_path_factory, tokenizer):
    """A shaken model of either structure, saved as transformers saves it."""
    make = {"gpt2": hf_gpt2, "llama": hf_llama}[request.param]
    sizes = {"gpt2": {"n_positions": 64}, "llama": {"max_position_embeddings": 64, "num_key_value_heads": 2}}
    path = tmp_path_factory.mktemp(request.param)
    make(vocab_size=len(tokenizer), **sizes[request.param]).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return str(path)


@pytest.fixture
def run():
    """Runs a notebook and gives back its variables; the old names and gradients are as before afterwards."""

    def notebook(name, **variables):
        return runpy.run_path(str(NOTEBOOKS / f"{name}.py"), init_globals=variables)

    yield notebook
    compat.uninstall()
    torch.set_grad_enabled(True)


def test_induction_heads(run, folder):
    ran = run("induction_heads", MODEL=folder)
    model, tokens, n = ran["model"], ran["rep_tokens"], ran["seq_len"]
    assert isinstance(model, HookedTransformer)
    _, cache = model.run_with_cache(tokens)
    layer, head = 1, 2
    stripe = [cache["pattern", layer][:, head, q, q - n + 1] for q in range(n - 1, tokens.shape[1])]
    torch.testing.assert_close(ran["induction_score_store"][layer, head], torch.stack(stripe).mean())
    assert torch.equal(ran["loss_after_reset"], ran["loss_no_ablation"])
    torch.testing.assert_close(ran["loss_with_added_hook"] - ran["loss_no_ablation"], ran["ablation_scores"][0, 1])
    with torch.no_grad():
        kept = model.blocks[0].attn.W_O[1].clone()
        model.blocks[0].attn.W_O[1] = 0
        torch.testing.assert_close(model(tokens, return_type="loss"), ran["loss_with_added_hook"])
        model.blocks[0].attn.W_O[1] = kept
        dense = model.W_E @ model.W_V[0, 3] @ model.W_O[0, 3] @ model.W_U
        values = torch.linalg.eigvals(dense)
        want = values.sum().real / values.abs().sum()
    torch.testing.assert_close(ran["copying"][3], want, atol=1e-3, rtol=1e-3)
    assert ran["str_tokens"][0] == "<bos>"


def test_exploratory_analysis(run, folder, capsys):
    ran = run("exploratory_analysis", MODEL=folder)
    assert "Performance on answer token" in capsys.readouterr().out
    model, logits = ran["model"], ran["original_logits"]
    torch.testing.assert_close(ran["logit_lens"][-1], logits[:, -1], atol=2e-5, rtol=1e-5)
    direction = ran["logit_diff_directions"]
    constant = model.b_U[ran["answer_tokens"]] @ torch.tensor([1.0, -1.0])
    if model.cfg.norm == "LN":
        constant = constant + direction @ model.ln_final.b
    for attribution, rest in ((ran["per_layer_attribution"], 0), (ran["per_head_attribution"], None)):
        if rest == 0:
            torch.testing.assert_close(attribution.sum(0) + constant, ran["per_prompt"], atol=2e-5, rtol=1e-5)
        assert attribution.shape[1:] == (2,)
    assert ran["head_labels"] == model.all_head_labels()
    torch.testing.assert_close(ran["by_library"], ran["patched_residual_stream_diff"])
    assert ran["every_head"].shape == (5, model.cfg.n_layers, model.cfg.n_heads)
    at_layer_0 = ran["patched_residual_stream_diff"][0]
    same = (ran["tokens"] == ran["corrupted_tokens"]).all(0)
    gap = ran["original_average_logit_diff"] - ran["corrupted_average_logit_diff"]  # rounding is of logits
    torch.testing.assert_close(gap * at_layer_0[same], torch.zeros(int(same.sum())), atol=2e-5, rtol=0)


def test_attribution_patching(run, folder):
    """From the last stream on, only the final norm is not linear: compare with a small step along the difference."""
    ran = run("attribution_patching", MODEL=folder)
    model, metric, tokens = ran["model"], ran["metric"], ran["corrupted_tokens"]
    name = f"blocks.{model.cfg.n_layers - 1}.hook_resid_post"
    step = ran["clean_cache"][name] - ran["corrupted_cache"][name]
    with torch.no_grad():
        up, down = (
            metric(model.run_with_hooks(tokens, fwd_hooks=[(name, lambda x, hook, by=by: x + by * step)]))
            for by in (1e-2, -1e-2)
        )
    torch.testing.assert_close(ran["attribution"][0], (up - down) / 2e-2, atol=2e-3, rtol=2e-2)
    assert ran["embed_gradient"].abs().sum() > 0
    assert not any("_input" in name for name in ran["clean_cache"])
    assert ran["clean_value"] == pytest.approx(metric(model(ran["clean_tokens"])).item())


def test_own_models(run):
    ran = run("own_models")
    assert ran["losses"][-1] < ran["losses"][0] * 0.5
    torch.testing.assert_close(ran["logits"], ran["model"](ran["dataset"]))
    assert ran["neuron_acts"].shape == (49, 32)
    assert ran["neuron_acts"].min() >= 0
    assert ran["out"] == 780
    values = {"hook_in": 5, "layer1.hook_square": 25, "hook_mid": 28, "layer2.hook_square": 784, "hook_out": 780}
    assert {name: value.item() for name, value in ran["toy_cache"].items()} == values
    assert ran["patched"] == -4
