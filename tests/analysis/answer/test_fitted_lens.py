"""The fitted decoder: exact at the end, the ridge regression of the plain formula, kept under the weights' own name."""

import copy

import pytest
import torch

from lens.analysis.answer import fitted_lens
from lens.analysis.answer.fitted_lens import _Sums, fit_decoder, fit_is_kept, fit_key, fit_quality, fitted_decoder
from lens.analysis.answer.lens_rows import LensRow, lens_rows
from lens.analysis.answer.logit_lens import logit_lens
from lens.analysis.held_out import beginnings
from lens.hooked import HookedTransformer
from lens.results import results_folder
from lens.texts import held_out
from tests.analysis.shaken import make_model


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LENS_CACHE", str(tmp_path))
    fitted_lens._kept.clear()


@pytest.fixture(scope="module")
def model() -> HookedTransformer:
    return HookedTransformer.from_pretrained("lens-2l")


def test_the_last_row_is_the_output_exactly(model):
    tokens = model.to_tokens("The cat sat on the mat.")
    raw, fitted = logit_lens(model, tokens), logit_lens(model, tokens, fitted=True)
    for one, other in zip(raw, fitted, strict=True):
        assert torch.equal(one[-1], other[-1])
    assert (fitted.kl[0] != raw.kl[0]).all()
    fit = fitted_decoder(model)
    assert not fit.weight[-1].any()
    assert not fit.bias[-1].any()
    assert fit.r2[-1] == 1


def test_on_text_that_was_not_fitted_it_reads_more_than_the_raw_lens(model):
    quality = fit_quality(model)
    assert (quality.kl.mean[:-1] < quality.raw_kl.mean[:-1]).all()
    assert quality.kl.n == 35
    assert (quality.kl.low <= quality.kl.mean).all()
    assert quality.r2[0] < quality.r2[1] < 1


def test_the_sums_give_the_ridge_regression_of_the_formula():
    torch.manual_seed(0)
    x, y = torch.randn(80, 6) * 3 + 5, torch.randn(80, 6)
    sums = _Sums(x[:20].mean(0), y[:20].mean(0))
    for at in range(0, 80, 20):
        sums.add(x[at : at + 20], y[at : at + 20])
    weight, bias = sums.solve()
    X, Y = x.double() - x.double().mean(0), y.double() - y.double().mean(0)
    ridge = fitted_lens.RIDGE * X.square().mean() * torch.eye(6, dtype=torch.float64)
    want = torch.linalg.solve(X.T @ X / 80 + ridge, X.T @ Y / 80)
    torch.testing.assert_close(weight, want.float(), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(bias, (y.double().mean(0) - x.double().mean(0) @ want).float(), atol=1e-4, rtol=1e-3)


@torch.no_grad()
def test_mid_layer_rows_have_maps_of_their_own_and_leave_the_others_as_they_were(tokenizer, monkeypatch):
    model = make_model(tokenizer, d_vocab=len(tokenizer) + 8)
    monkeypatch.setattr(fitted_lens, "LENGTH", 24)
    fit, row = fit_decoder(model), LensRow(1, mid=True)
    assert fit.rows == lens_rows(model.cfg, mid=True)
    text = beginnings(model, len(held_out()), model.bos.prepend, 24)
    logits, cache = model.run_with_cache(text.tokens, attention_mask=text.mask)
    counted = text.mask.bool().clone()
    counted[:, 0] = False
    mid, final = cache["resid_mid", 1], cache["resid_post", model.cfg.n_layers - 1]
    x, y = (one[::2][counted[::2]].double() for one in (mid, final - mid))
    X, Y = x - x.mean(0), y - y.mean(0)
    ridge = fitted_lens.RIDGE * X.square().mean() * torch.eye(model.cfg.d_model, dtype=torch.float64)
    want = torch.linalg.solve(X.T @ X / len(X) + ridge, X.T @ Y / len(X))
    at = fit.rows.index(row)
    torch.testing.assert_close(fit.weight[at], want.float(), atol=1e-4, rtol=1e-3)
    places = torch.stack([one.nonzero()[:, 0][torch.linspace(0, int(one.sum()) - 1, 8).round().long()] for one in
                          counted[1::2]])  # fmt: skip
    chapters = torch.arange(len(places))[:, None]
    output = logits[1::2][chapters, places].log_softmax(-1)
    read = model(fit.read(row, mid[1::2][chapters, places]), start_at_layer=model.cfg.n_layers).log_softmax(-1)
    torch.testing.assert_close(fit.kl[at], (output.exp() * (output - read)).sum(-1).mean(1), atol=1e-5, rtol=1e-3)
    monkeypatch.setattr(fitted_lens, "LARGEST", 4 * (model.cfg.n_layers + 1) * model.cfg.d_model**2)
    whole = fit_decoder(model)
    assert whole.rows == lens_rows(model.cfg)
    kept = [fit.rows.index(one) for one in whole.rows]
    for name in ("weight", "bias", "r2", "kl", "raw_kl"):
        torch.testing.assert_close(getattr(whole, name), getattr(fit, name)[kept], atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="leave out mid"):
        logit_lens(model, text.tokens[:1, :5], mid=True, fitted=True)


def test_fitted_rows_of_a_table_are_those_of_their_names(tokenizer, monkeypatch):
    model = make_model(tokenizer, d_vocab=len(tokenizer) + 8)
    monkeypatch.setattr(fitted_lens, "LENGTH", 24)
    tokens = model.to_tokens("The cat sat")
    some, every = (logit_lens(model, tokens, mid=mid, fitted=True) for mid in (False, True))
    kept = [lens_rows(model.cfg, mid=True).index(row) for row in lens_rows(model.cfg)]
    for one, other in zip(some, every, strict=True):
        assert torch.equal(one, other[kept])


def test_it_is_made_once_and_belongs_to_the_weights(model, monkeypatch):
    assert not fit_is_kept(model)
    first = fitted_decoder(model)
    assert (results_folder() / fit_key(model)).is_file()
    fitted_lens._kept.clear()
    monkeypatch.setattr(fitted_lens, "fit_decoder", lambda *_: pytest.fail("it was made again"))
    assert fit_is_kept(model)
    again = fitted_decoder(model)
    assert torch.equal(first.weight, again.weight)
    assert again.n_fit == first.n_fit
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.blocks[0].attn.W_O.mul_(1.01)
    assert fit_key(other) != fit_key(model)
    assert not fit_is_kept(other)


def test_a_changed_model_never_gets_the_fit_of_before(model):
    changed = copy.deepcopy(model)
    before = fitted_decoder(changed)
    with torch.no_grad():
        changed.embed.W_E.mul_(1.5)
    assert not torch.equal(fitted_decoder(changed).weight, before.weight)


def test_passes_over_some_rows_at_a_time_give_the_same(model, monkeypatch):
    whole = fit_decoder(model)
    monkeypatch.setattr(fitted_lens, "SUMS", 1)
    torch.testing.assert_close(fit_decoder(model).weight, whole.weight)


def test_maps_that_are_too_large_are_refused_and_progress_can_stop_it(model, monkeypatch):
    def stop(fraction: float, stage: str) -> None:
        raise InterruptedError(stage)

    with pytest.raises(InterruptedError, match="chapters 1–"):
        fit_decoder(model, stop)
    monkeypatch.setattr(fitted_lens, "LARGEST", 1000)
    with pytest.raises(ValueError, match="Use the raw decoder"):
        fit_decoder(model)
