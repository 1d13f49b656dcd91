"""The lens on every family: its last row is the output, its parts sum to the stream, transformers reads the same."""

import pytest
import torch

from lens.analysis.answer.lens_rows import has_mid, lens_rows
from lens.analysis.answer.logit_lens import _Lens, follow_tokens, logit_lens, settles
from lens.analysis.reference import _opened, reference_of
from tests.analysis.shaken import make_model
from tests.families.conftest import hf_of, lens_of
from tests.families.variants import VARIANTS

TOKENS = torch.randint(0, 110, (2, 9), generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_the_last_row_is_the_output_exactly(variant):
    model = lens_of(variant)
    found = logit_lens(model, TOKENS, mid=has_mid(model.cfg))
    output = model(TOKENS).float()
    assert torch.equal(found.top[-1], output.argmax(-1))
    assert (found.kl[-1] == 0).all()
    assert (found.rank[-1] == 0).all()
    torch.testing.assert_close(found.logprob[-1], output.log_softmax(-1).max(-1).values, atol=1e-5, rtol=0)
    assert len(found.top) == model.cfg.n_layers * (1 + has_mid(model.cfg)) + 1
    lens = _Lens(model, TOKENS, "stream", False, False)
    assert torch.equal(lens.logits(model.cfg.n_layers, slice(None)), lens.output(slice(None)))


@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_embedding_attention_and_mlps_sum_to_the_stream(variant):
    model = lens_of(variant)
    sources = ["stream", "attention"] + ([] if model.cfg.attn_only else ["mlp"])
    streams = {source: _Lens(model, TOKENS, source, False, False).streams for source in sources}
    for layer in range(model.cfg.n_layers):
        parts = sum(streams[source][layer] for source in sources[1:])
        torch.testing.assert_close(streams["stream"][0] + parts, streams["stream"][layer + 1], atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("variant", ["gpt2", "llama", "gemma2", "gpt-neox"])
@torch.no_grad()
def test_transformers_hidden_states_through_its_own_norm_and_head_say_the_same(variant):
    theirs, model = hf_of(variant), lens_of(variant)
    _same_as_theirs(theirs, model, TOKENS, 2e-5)


@torch.no_grad()
def test_transformers_says_the_same_of_smollm2(smollm2):
    tokens = smollm2.to_tokens("The cat sat on the mat. The cat sat on the")
    theirs = _opened(reference_of(smollm2), torch.float32).eval()
    _same_as_theirs(theirs, smollm2, tokens, 2e-3)


def _same_as_theirs(theirs, model, tokens, atol):
    norm = next(
        one for name, one in theirs.named_modules() if name.split(".")[-1] in ("norm", "ln_f", "final_layer_norm")
    )
    hidden = theirs(tokens, output_hidden_states=True).hidden_states[:-1]  # the last one is behind the norm already
    target = tokens.roll(-1, 1)
    found = logit_lens(model, tokens, target)
    for row, stream in enumerate(hidden):
        logits = theirs.get_output_embeddings()(norm(stream))
        cap = getattr(theirs.config, "final_logit_softcapping", None)
        logits = logits if cap is None else cap * (logits / cap).tanh()
        own = logits.log_softmax(-1)
        torch.testing.assert_close(found.logprob[row], own.gather(-1, target[..., None])[..., 0], atol=atol, rtol=1e-5)
        torch.testing.assert_close(found.entropy[row], -(own.exp() * own).sum(-1), atol=atol, rtol=1e-4)
        aim = logits.gather(-1, target[..., None])
        close = ((logits - aim).abs() < 10 * atol).sum(-1)  # what rounding may swap
        assert ((found.rank[row] - (logits > aim).sum(-1)).abs() <= close).all()


@pytest.mark.parametrize("source", ["stream", "attention"])
@torch.no_grad()
def test_followed_tokens_are_those_of_the_whole_text(source):
    model = lens_of("gpt2")
    found = logit_lens(model, TOKENS[:1], source=source)
    for pos in (0, 4, 8):
        one = follow_tokens(model, TOKENS[:1], pos, (7,), source=source)
        torch.testing.assert_close(one.kl, found.kl[:, 0, pos], atol=1e-5, rtol=0)
        torch.testing.assert_close(one.entropy, found.entropy[:, 0, pos], atol=1e-5, rtol=0)
        assert torch.equal(one.top[:, 0], found.top[:, 0, pos])
        assert one.ids[0] == 7
        assert one.ids[1] == model(TOKENS[:1])[0, pos].argmax()
        assert set(one.top[:, 0].tolist()) <= set(one.ids.tolist())
        at = one.ids.tolist().index(int(one.ids[1]))
        torch.testing.assert_close(one.logprob[:, at], found.logprob[:, 0, pos], atol=1e-5, rtol=0)
        assert torch.equal(one.rank[:, at], found.rank[:, 0, pos])


def test_a_target_that_is_not_there_has_no_number():
    target = torch.full_like(TOKENS, -1)
    found = logit_lens(lens_of("llama"), TOKENS, target)
    assert found.logprob.isnan().all()
    assert (found.rank == -1).all()
    assert found.kl.isfinite().all()


def test_rows_that_a_model_does_not_have_are_refused():
    attention_only = make_model(d_mlp=0)
    assert [row.label for row in lens_rows(attention_only.cfg, mid=True)] == ["embed", "0", "1", "2"]
    assert [row.label for row in lens_rows(make_model().cfg, mid=True)][:4] == ["embed", "0 mid", "0", "1 mid"]
    with pytest.raises(ValueError, match="no MLP"):
        logit_lens(attention_only, TOKENS % 97, source="mlp")
    with pytest.raises(ValueError, match="must be one of"):
        logit_lens(attention_only, TOKENS % 97, source="heads")
    with pytest.raises(ValueError, match="leave out the rest"):
        logit_lens(attention_only, TOKENS % 97, source="attention", fitted=True)


def test_a_token_settles_where_it_stays_on_top():
    rank = torch.tensor([[0, 3, 0, 1], [2, 0, 0, 0], [0, 0, 0, 4]])
    assert settles(rank).tolist() == [2, 1, 0, -1]
