import math

import pytest
import torch

from lens.analysis import streaming
from lens.analysis.head_scores import head_scores, join_scores, repeat_scores_of, summarise_scores, uniform_scores
from lens.analysis.instruments.registry import instrument
from lens.analysis.random_tokens import SamplingSet, repeated_tokens
from lens.analysis.score_results import Samples, head_score
from lens.analysis.stats import family_wise_threshold
from lens.hooks import _scopes
from lens.tokens import TokenBatch
from tests.analysis.shaken import GROUPED, make_model

N = 7


def naive(model, tokens, bos):
    """All patterns kept, python loops over positions; each [sequence, layer, head]."""
    _, cache = model.run_with_cache(tokens, names_filter=lambda name: name.endswith("hook_pattern"))
    A = torch.stack([cache["pattern", layer] for layer in range(model.cfg.n_layers)], 1).double()
    n_pos = tokens.shape[1]
    queries = range(bos + N, bos + 2 * N)

    def mean(pairs):
        return sum(A[..., q, k] for q, k in pairs) / len(pairs)

    entropy = [sum(-A[..., q, k] * A[..., q, k].clamp(min=1e-300).log() for k in range(q + 1)) for q in range(n_pos)]
    return {
        "induction": mean([(q, q - N + 1) for q in queries]),
        "duplicate": mean([(q, q - N) for q in queries if q > N or bos]),
        "previous": mean([(q, q - 1) for q in range(6, n_pos)]),
        "first": mean([(q, 0) for q in range(1, n_pos)]),
        "entropy": sum(entropy[1:]) / (n_pos - 1),
        "entropy_normalised": sum(entropy[q] / math.log(q + 1) for q in range(1, n_pos)) / (n_pos - 1),
        "previous_null": torch.stack([mean([(q, q - j) for q in range(6, n_pos)]) for j in (2, 3, 4, 5)]).amax(0),
    }


@pytest.mark.parametrize("bos", [0, 1])
def test_streaming_equals_the_naive_way(model, bos):
    repeated = repeated_tokens(model, N, n_seqs=16, seed=2, prepend_bos=bool(bos))
    found = head_scores(model, repeated)
    want, control = naive(model, repeated.tokens, bos), naive(model, repeated.control, bos)
    assert set(found.scores) == set(want) - {"previous_null"}
    for name, score in found.scores.items():
        null = want["previous_null"] if name == "previous" else control[name]
        torch.testing.assert_close(score.per_sequence.double(), want[name], atol=1e-6, rtol=0)
        torch.testing.assert_close(score.null_per_sequence.double(), null, atol=1e-6, rtol=0)
        torch.testing.assert_close(score.effect.mean.double(), (want[name] - null).mean(0), atol=1e-6, rtol=0)
        assert ((score.score.low <= score.score.mean) & (score.score.mean <= score.score.high)).all()
        assert score.uniform == pytest.approx(float(getattr(uniform_scores(N, bos), name)))
        assert torch.allclose(score.null_mean, score.null_per_sequence.mean(0))


def test_only_scores_with_a_null_have_a_threshold(grouped):
    found = head_scores(grouped, repeated_tokens(grouped, N))
    assert {name for name, s in found.scores.items() if s.threshold is not None} == {
        "induction",
        "duplicate",
        "previous",
    }
    assert found["induction"].threshold == family_wise_threshold(found["induction"].null_per_sequence)
    assert found["induction"].n_queries == 16 * N
    assert found["previous"].n_queries == 16 * (2 * N + 1 - 6)
    assert "over q ≥ 6" in found["previous"].kind.definition
    assert "seed 0" in found.source
    assert "q = 8…14" in found["induction"].kind.definition
    with pytest.raises(KeyError, match="no such score"):
        found["copying"]


@pytest.mark.parametrize(("n_seqs", "said"), [(1, "1 sequence;"), (15, "15 sequences;"), (16, "")])
def test_no_verdict_below_sixteen_sequences(grouped, n_seqs, said):
    found = head_scores(grouped, repeated_tokens(grouped, N, n_seqs))
    for name in ("induction", "duplicate", "previous"):
        assert found[name].no_verdict.startswith(said)
        assert (found[name].threshold is None) is (found[name].above is None) is bool(said)
    assert found["entropy"].above is None
    assert "not a test" in found["entropy"].no_verdict


def test_heads_that_look_everywhere_alike_are_above_nothing():
    model = make_model(**GROUPED)
    with torch.no_grad():
        for block in model.blocks:
            block.attn.W_Q.zero_()
            block.attn.b_Q.zero_()
    for name in ("induction", "duplicate", "previous"):
        assert not head_scores(model, repeated_tokens(model, N))[name].above.any()


def test_batches_change_nothing(grouped, monkeypatch):
    repeated = repeated_tokens(grouped, N, n_seqs=5)
    whole = head_scores(grouped, repeated)
    monkeypatch.setattr(streaming, "TOKENS", 4 * (2 * N + 1))
    parts = head_scores(grouped, repeated)
    for name in whole.scores:
        torch.testing.assert_close(parts[name].per_sequence, whole[name].per_sequence, atol=1e-6, rtol=0)
    assert whole["induction"].score.low is None


def test_sequences_can_be_read_in_parts(grouped):
    repeated = repeated_tokens(grouped, N, n_seqs=5, seed=3)
    whole = head_scores(grouped, repeated)
    parts = [repeat_scores_of(rows, grouped, N, 3, True) for rows in ((0, 2), (2, 4), (4, 5))]
    again = summarise_scores(join_scores(parts), repeated)
    assert again.source == whole.source
    for name, score in whole.scores.items():
        torch.testing.assert_close(again[name].per_sequence, score.per_sequence, atol=1e-6, rtol=0)
        torch.testing.assert_close(again[name].null_per_sequence, score.null_per_sequence, atol=1e-6, rtol=0)
        assert again[name].n_queries == score.n_queries


def test_a_text_adds_previous_on_text(grouped, ragged):
    tokens, mask, _ = ragged("right")
    repeated = repeated_tokens(grouped, N, 2)
    found = head_scores(grouped, repeated, TokenBatch(tokens[:2], mask[:2]))
    assert found["previous_on_text"].score.n == 2
    none = head_scores(grouped, repeated, TokenBatch(tokens[2:], mask[2:]))
    assert none.missing == {"previous_on_text": "not computed because no text has four tokens"}


def test_the_pass_ends_at_the_last_pattern_and_never_unembeds(grouped):
    seen = []
    streaming.stream_patterns(
        grouped, torch.arange(10)[None], lambda layer, rows, p: seen.append((layer, rows, p.shape))
    )
    assert seen == [(layer, slice(0, 1), (1, 4, 10, 10)) for layer in range(3)]
    after = []
    watch = [
        (name, lambda x, hook: after.append(hook.name)) for name in ("blocks.1.attn.hook_z", "ln_final.hook_scale")
    ]
    with grouped.hooks(fwd_hooks=watch):
        streaming.stream_patterns(grouped, torch.arange(10)[None], lambda *_: None, layers=[0, 1])
    assert after == []
    with pytest.raises(ValueError, match="this model has 0 … 2"):
        streaming.stream_patterns(grouped, torch.arange(10)[None], lambda *_: None, layers=[3])


def test_progress_grows_to_one(grouped, ragged):
    steps = []
    tokens, mask, _ = ragged("right")
    text = TokenBatch(tokens, mask)
    head_scores(grouped, repeated_tokens(grouped, N, 2), text, lambda fraction, stage: steps.append((fraction, stage)))
    fractions = [fraction for fraction, _ in steps]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1)
    assert len(set(fractions)) >= 2 * grouped.cfg.n_layers
    assert "layer 0 of 3" in steps[0][1]


def test_cancelling_leaves_no_hook_and_the_model_as_it_was():
    model = make_model(**GROUPED)
    repeated = repeated_tokens(model, N)
    before = model(repeated.tokens)

    def cancel(fraction, stage):
        if fraction > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        head_scores(model, repeated, progress=cancel)
    assert _scopes.get() == ()
    assert torch.equal(model(repeated.tokens), before)


def test_the_same_seed_gives_the_same_numbers(grouped):
    one, two = (head_scores(grouped, repeated_tokens(grouped, N, seed=3)) for _ in range(2))
    assert torch.equal(one["induction"].score.low, two["induction"].score.low)
    other = head_scores(grouped, repeated_tokens(grouped, N, seed=4))
    assert not torch.equal(one["induction"].score.mean, other["induction"].score.mean)


def test_smollm2_has_the_known_induction_heads(smollm2):
    ids = SamplingSet(torch.arange(1000, 40000), "ids 1000–39999")
    repeated = repeated_tokens(smollm2, n=25, n_seqs=16, seed=0, prepend_bos=False, sampling=ids)
    found = head_scores(smollm2, repeated)["induction"]
    assert found.score.mean[18, 6] == pytest.approx(0.91, abs=0.04)
    assert found.score.mean[17, 3] == pytest.approx(0.78, abs=0.04)
    assert divmod(int(found.effect.mean.argmax()), 9) == (18, 6)
    assert (found.score.low > found.threshold).sum() < 135
    previous = head_scores(smollm2, repeated_tokens(smollm2, n=25))["previous"]
    assert 15 <= previous.above.sum() <= 23
    assert found.null_mean.max() < 0.05


def test_the_strongest_heads_above_the_threshold_are_in_order():
    values = torch.tensor([[[0.5, 0.05], [0.9, 0.2]]]).repeat(16, 1, 1)
    kind = instrument("induction").kind("repeats")
    score = head_score(kind, Samples(values, torch.full_like(values, 0.1), 0.1, 16), "sequences")
    assert score.strongest_above(8) == [(1, 0), (0, 0), (1, 1)]
    assert score.strongest_above(1) == [(1, 0)]
    few = head_score(kind, Samples(values[:3], values[:3] / 9, 0.1, 3), "sequences")
    assert few.strongest_above(8) == []
