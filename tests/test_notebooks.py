"""The notebooks of ``docs/``: what is stored is what running them prints, and their numbers hold another way."""

import json
import re

import numpy as np
import pytest
import torch

from lens import HookedTransformer
from lens.compat.transformer import HookedTransformer as Classic
from lens.load.checkpoints import checkpoints
from tests.notebooks import DOCS, Ran, run

NUMBER = re.compile(r"-?\d+\.\d+")
CLOSE = 0.0101  # of a number with two places, where two machines round it to either side


@pytest.fixture(scope="module", params=sorted(DOCS.glob("*.ipynb")), ids=lambda path: path.stem)
def ran(request, tmp_path_factory) -> Ran:
    """Each notebook, run with nothing computed before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LENS_CACHE", str(tmp_path_factory.mktemp("cache")))
        return run(request.param)


@pytest.fixture(scope="module")
def model() -> HookedTransformer:
    return HookedTransformer.from_pretrained("lens-2l")


def test_what_is_stored_is_what_it_prints(ran):
    for stored, printed in zip(ran.stored, ran.printed, strict=True):
        assert NUMBER.sub("#", stored).split() == NUMBER.sub("#", printed).split()
        numbers = (np.array(NUMBER.findall(text), float) for text in (stored, printed))
        np.testing.assert_allclose(*numbers, atol=CLOSE, rtol=2e-3)


def test_every_cell_was_run_in_order_on_the_model_that_comes_with_lens():
    paths = sorted(DOCS.glob("*.ipynb"))
    assert [path.stem for path in paths] == ["chain_on_lens_2l", "transformerlens_notebook"]
    for path in paths:
        cells = [cell for cell in json.loads(path.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
        assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
        assert {out["output_type"] for cell in cells for out in cell["outputs"]} == {"stream"}
        assert re.findall(
            r'from_pretrained\("([^"]*)"', "".join(line for cell in cells for line in cell["source"])
        ) == ["lens-2l"]


def stripe(model: HookedTransformer, tokens: torch.Tensor, n: int, layer: int, head: int) -> float:
    """Attention from the second copy to the token after its first occurrence."""
    _, cache = model.run_with_cache(tokens, names_filter=f"blocks.{layer}.attn.hook_pattern")
    pattern = cache["pattern", layer][:, head]
    return float(torch.stack([pattern[:, q, q - n + 1] for q in range(n + 1, 2 * n + 1)]).mean())


def without(model: HookedTransformer, tokens: torch.Tensor, put: torch.Tensor, layer: int, head: int) -> float:
    """The loss of the second copy, its first token left out, with one head's z replaced."""

    def replace(z, hook):
        z[:, :, head] = put

    n = tokens.shape[1] // 2
    hooks = [(f"blocks.{layer}.attn.hook_z", replace)]
    loss = model.run_with_hooks(tokens, return_type="loss", loss_per_token=True, fwd_hooks=hooks)
    return float(loss[:, n + 1 :].mean())


@torch.no_grad()
def copying(model: HookedTransformer, layer: int, head: int) -> float:
    """Σλ / Σ|λ| of a head's full OV circuit; its weights have the gains of the norms in them."""
    values = torch.linalg.eigvals(model.W_O[layer, head] @ model.W_U @ model.W_E @ model.W_V[layer, head])
    return float(values.sum().real / values.abs().sum())


@pytest.mark.parametrize("ran", [DOCS / "chain_on_lens_2l.ipynb"], indirect=True)
def test_the_chain_holds_by_hand(ran, model):
    variables, n = ran.variables, 25
    tokens, control = variables["repeated"].tokens, variables["repeated"].control
    assert variables["head"] == (1, 1)
    assert float(variables["induction"].score.mean[1, 1]) == pytest.approx(stripe(model, tokens, n, 1, 1), abs=1e-5)

    # the eigenvalues of W_E W_V W_O W_U that are not 0 are those of the small product the other way round
    folded = Classic.from_pretrained("lens-2l")
    assert float(variables["copying"].score[1, 1]) == pytest.approx(copying(folded, 1, 1), abs=1e-4)

    other = tokens.clone()
    other[:, 1 : n + 1] = control[:, n + 1 :]
    _, cache = model.run_with_cache(other, names_filter="blocks.1.attn.hook_z")
    with torch.no_grad():
        plain = float(model(tokens, return_type="loss", loss_per_token=True)[:, n + 1 :].mean())
        rise = without(model, tokens, cache["z", 1][:, :, 1], 1, 1) - plain
    assert float(variables["removed"].value[1, 1]) == pytest.approx(rise, abs=1e-4)

    assert variables["restored"][0, 10] == pytest.approx(1, abs=0.05)
    assert variables["restored"][1, 19] == pytest.approx(1, abs=1e-5), "the last stream at the last place is the answer"
    assert variables["restored"][:, :10].abs().max() < 1e-5, "before the token that differs nothing does"

    run_of, born = checkpoints("lens-2l"), variables["born"]
    assert (born.last_below, born.first_above) == (5, 6)
    for index, below in ((5, True), (6, False)):
        early = HookedTransformer.from_pretrained("lens-2l", checkpoint_index=index)
        effect = stripe(early, tokens, n, 1, 1) - stripe(early, control, n, 1, 1)
        assert (effect < 0.1) is below
        assert float(variables["curve"].effect.mean[index]) == pytest.approx(effect, abs=1e-4)
    assert len(variables["names"]) == len(run_of)


@pytest.mark.parametrize("ran", [DOCS / "transformerlens_notebook.ipynb"], indirect=True)
def test_the_classic_names_give_the_same_numbers(ran, model):
    variables, n = ran.variables, ran.variables["seq_len"]
    tokens = variables["rep_tokens"]
    assert type(variables["model"]).__module__.startswith("lens.compat")
    want = [[_with_first(model, tokens, n, layer, head) for head in range(4)] for layer in range(2)]
    np.testing.assert_allclose(variables["induction_score_store"].numpy(), want, atol=1e-4)
    classic = variables["model"]
    assert float(variables["ablation_scores"][1, 1]) == pytest.approx(_without_weights(classic, tokens, n), abs=1e-4)

    # one patch by hand: the output of head 1.1 at every position
    clean, corrupted = variables["clean_tokens"], variables["corrupted_tokens"]
    _, cache = model.run_with_cache(clean, names_filter="blocks.1.attn.hook_z")

    def patch(z, hook):
        z[:, :, 1] = cache["z", 1][:, :, 1]

    with torch.no_grad():
        logits = model.run_with_hooks(corrupted, fwd_hooks=[("blocks.1.attn.hook_z", patch)])
    assert float(variables["by_head"][1, 1]) == pytest.approx(float(variables["recovered"](logits)), abs=1e-4)
    assert float(variables["copying_score"][1, 1]) == pytest.approx(copying(classic, 1, 1), abs=1e-4)
    cache, right, wrong = (variables[name] for name in ("clean_cache", "right", "wrong"))
    written = cache["z", 1][:, -1, 1] @ classic.W_O[1, 1] / cache["ln_final.hook_scale"][:, -1]
    direct = (written * (classic.W_U[:, right] - classic.W_U[:, wrong]).T).sum(1).mean().detach()
    assert float(variables["attribution"][5]) == pytest.approx(float(direct), abs=1e-4)


def _with_first(model: HookedTransformer, tokens: torch.Tensor, n: int, layer: int, head: int) -> float:
    """The same as ``stripe``, with the last token of the first copy, which the classic diagonal holds as well."""
    _, cache = model.run_with_cache(tokens, names_filter=f"blocks.{layer}.attn.hook_pattern")
    pattern = cache["pattern", layer][:, head]
    return float(torch.stack([pattern[:, q, q - n + 1] for q in range(n - 1, 2 * n + 1)]).mean())


def _without_weights(model: HookedTransformer, tokens: torch.Tensor, n: int) -> float:
    """The rise of the loss of the second copy with the output weights of head 1.1 at 0."""

    def loss() -> float:
        return float(model(tokens, return_type="loss", loss_per_token=True)[:, n + 1 :].mean())

    weights = model.blocks[1].attn.W_O
    with torch.no_grad():
        before, kept = loss(), weights[1].clone()
        weights[1] = 0
        after = loss()
        weights[1] = kept
    return after - before
