"""Instruments: exact on hand-made patterns, one pass for many, and the same numbers as the functions they name."""

import math
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from lens import HookedTransformer
from lens.analysis.circuit_weights import constant_values
from lens.analysis.composition import composition
from lens.analysis.direct_effects import direct_effects
from lens.analysis.head_scores import head_scores
from lens.analysis.head_vocabulary import copying_accuracy, own_ranks_of, share_by_chance
from lens.analysis.instruments import ov_copying as ov
from lens.analysis.instruments.instrument import FOUND, LINKS, Expected, Instrument, Needs
from lens.analysis.instruments.layout import repeats_layout, text_layout
from lens.analysis.instruments.measure import cost_of, measure
from lens.analysis.instruments.patterns import PatternReader, join, measure_patterns, read_repeats
from lens.analysis.instruments.registry import HEAD_SCORES, INSTRUMENTS, by_link, instrument, instruments_named
from lens.analysis.instruments.rows import rows
from lens.analysis.instruments.sample import WEIGHTS, repeats, shipped_text, task_sample, text
from lens.analysis.interventions import run_sweep
from lens.analysis.interventions.ablation import chance, single_heads
from lens.analysis.interventions.intervention import Metric
from lens.analysis.interventions.pairs import Pairs
from lens.analysis.interventions.results import effect
from lens.analysis.interventions.tasks import Task, induction_on
from lens.analysis.ov_copying import ov_copying
from lens.analysis.prefix_matching import prefix_matching
from lens.analysis.random_tokens import repeated_tokens
from lens.analysis.text_scores import text_scores
from lens.decompose import whole
from lens.planted.plants import NAMES
from lens.readout import logit_contributions
from lens.tokens import TokenBatch
from tests.analysis.shaken import make_model

N = 6
PATTERNS = tuple(one for one in INSTRUMENTS if one.pattern is not None)
OTHERS = tuple(one for one in INSTRUMENTS if one.pattern is None)


def looking(n_pos: int, back: int) -> torch.Tensor:
    """A head that looks exactly ``back`` tokens ago, and at position 0 where there is no such token."""
    pattern = torch.zeros(n_pos, n_pos)
    for q in range(n_pos):
        pattern[q, max(q - back, 0)] = 1
    return pattern


def read(name: str, pattern: torch.Tensor, layout) -> float:
    return float(PatternReader([instrument(name)], layout)(pattern[None, None])[0, 0, 0, 0])


def null_of(name: str, pattern: torch.Tensor, layout) -> float:
    return float(PatternReader([instrument(name)], layout)(pattern[None, None])[1, 0, 0, 0])


class TestHandMade:
    """[BOS] r₁…r_6 r₁…r_6: thirteen positions."""

    at = repeats_layout(N, 1)

    def test_own_position(self):
        assert read("self", looking(13, 0), self.at) == 1
        assert read("self", looking(13, 1), self.at) == 0

    @pytest.mark.parametrize("back", [1, 2, 5])
    def test_mean_distance_leaves_the_first_token_out(self, back):
        assert read("distance", looking(13, back), self.at) == pytest.approx(back)
        assert read("distance", looking(13, 99), self.at) == 0

    def test_the_largest_look_leaves_the_first_token_out(self):
        pattern = torch.zeros(13, 13)
        pattern[:, 0], pattern[range(4, 13), range(2, 11)] = 0.7, 0.3
        assert read("largest", pattern, self.at) == pytest.approx(0.3 * 9 / 12)
        assert read("largest", looking(13, 99), self.at) == 0

    def test_mean_distance_weighs_keys_with_their_attention(self):
        pattern = torch.zeros(13, 13)
        pattern[:, 0] = 1
        pattern[8] = 0
        pattern[8, 0], pattern[8, 7], pattern[8, 4] = 0.2, 0.6, 0.2
        assert read("distance", pattern, self.at) == pytest.approx((0.6 * 1 + 0.2 * 4) / 0.8)

    @pytest.mark.parametrize(("share", "want"), [(0.29, 0.0), (0.31, 1.0)])
    def test_sink_rate_counts_queries(self, share, want):
        pattern = (1 - share) * torch.eye(13)
        pattern[:, 0] += share
        assert read("sink", pattern, self.at) == want
        half = pattern.clone()
        half[7:] = torch.eye(13)[7:]
        assert read("sink", half, self.at) == pytest.approx(want / 2)

    def test_uniform_attention(self):
        even = PatternReader(PATTERNS, self.at).uniform()[:, 0]
        found = {one.name: float(value) for one, value in zip(PATTERNS, even)}
        assert found["self"] == pytest.approx(sum(1 / (q + 1) for q in range(1, 13)) / 12)
        assert found["sink"] == pytest.approx(2 / 12)  # 1/2 and 1/3
        assert found["entropy"] == pytest.approx(sum(math.log(q + 1) for q in range(1, 13)) / 12)
        weights = [(1 / (q + 1), q - k) for q in range(13) for k in range(1, q + 1)]
        assert found["distance"] == pytest.approx(sum(w * d for w, d in weights) / sum(w for w, _ in weights))

    def test_what_is_outlined_is_what_is_read(self):
        cells = {one.name: one.reads(self.at) for one in PATTERNS}
        assert cells["induction"] == [(q, q - 5) for q in range(7, 13)]
        assert cells["self"] == [(q, q) for q in range(1, 13)]
        assert cells["entropy"] == cells["sink"] == cells["distance"] == []
        for one in PATTERNS:
            for q, k in cells[one.name]:
                lit = torch.zeros(13, 13)
                lit[q, k] = 1
                assert read(one.name, lit, self.at) > 0

    def test_padding_changes_nothing(self):
        tokens = torch.tensor([[9, 9, 0, 5, 6, 5, 7, 5, 8]])
        mask = torch.tensor([[False, False, *[True] * 7]])
        pattern = torch.rand(9, 9).tril()
        pattern /= pattern.sum(-1, keepdim=True)
        padded, plain = text_layout(tokens, mask), text_layout(tokens[:, 2:], mask[:, 2:])
        shifted = pattern.clone()
        shifted[2:, 2:] /= shifted[2:, 2:].sum(-1, keepdim=True)
        shifted[:, :2] = 0
        for one in PATTERNS:
            assert read(one.name, shifted, padded) == pytest.approx(read(one.name, shifted[2:, 2:], plain), abs=1e-6)


class TestRegistry:
    @pytest.mark.parametrize("one", INSTRUMENTS, ids=lambda one: one.name)
    def test_words_are_complete(self, one):
        words = ("title", "unit", "definition", "null", "formula", "misreading")
        assert all(getattr(one, name) for name in words)
        assert one.link in LINKS
        assert bool(one.habit) == one.tested
        assert set(one.expected) in (set(), set(NAMES))
        assert one.tested or not one.expected
        if one.expected:
            assert one.fooled_by
            assert one.expected["planted-random"].verdict == "inside the null"

    def test_names(self):
        assert len({one.name for one in INSTRUMENTS}) == len(INSTRUMENTS)
        assert set(HEAD_SCORES) <= {one.name for one in INSTRUMENTS}
        with pytest.raises(KeyError, match="there are first, sink"):
            instrument("nothing")

    def test_links_are_in_the_order_of_the_chain(self):
        assert tuple(by_link()) == LINKS
        assert sum(map(len, by_link().values())) == len(INSTRUMENTS)
        assert all(by_link().values())

    def test_imports_no_torch(self):
        code = "import sys, lens.analysis.instruments.registry; sys.exit('torch' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code]).returncode == 0

    def test_a_half_instrument_is_refused(self):
        with pytest.raises(ValueError, match="one of the two"):
            replace(instrument("first"), pattern=None)
        with pytest.raises(ValueError, match="the chain has attends"):
            replace(instrument("first"), link="likes")


def forwards(model: HookedTransformer, what) -> int:
    """How many sequences pass the first layer while ``what`` runs."""
    seen = []
    watch = [("blocks.0.attn.hook_pattern", lambda x, hook: seen.append(len(x)))]
    with model.hooks(fwd_hooks=watch):
        what()
    return sum(seen)


def test_all_patterns_cost_one_pass(grouped):
    sample = repeats(repeated_tokens(grouped, N, 4))
    many = forwards(grouped, lambda: measure(grouped, PATTERNS, [sample]))
    assert many == forwards(grouped, lambda: measure(grouped, PATTERNS[:1], [sample])) == 8  # with their controls
    cfg = grouped.cfg
    assert cost_of(cfg, PATTERNS, [sample]) == cost_of(cfg, PATTERNS[:1], [sample]) == (8 * 13, 0)


def test_asked_together_or_alone_they_are_the_same(model):
    repeated = repeated_tokens(model, N, 16)
    together = measure(model, PATTERNS, [repeats(repeated)])
    old = head_scores(model, repeated)
    for one in PATTERNS:
        alone = one.measure(model, repeats(repeated))
        torch.testing.assert_close(together[one.name].per_sequence, alone.per_sequence, atol=1e-6, rtol=0)
        if one.name in HEAD_SCORES:
            torch.testing.assert_close(old[one.name].per_sequence, alone.per_sequence, atol=1e-6, rtol=0)
            assert old[one.name].kind == alone.kind
            assert old[one.name].threshold == pytest.approx(alone.threshold)


def test_texts_too(model, ragged):
    tokens, mask, _ = ragged("left")
    batch = TokenBatch(tokens, mask)
    found = measure(model, PATTERNS, [text(batch)])
    old = text_scores(model, tokens, mask)
    for name, score in old.scores.items():
        torch.testing.assert_close(found[name].per_sequence, score.per_sequence, atol=1e-6, rtol=0)
        assert found[name].kind == score.kind
    assert found["self"].kind.null == "none"
    assert found["sink"].score.n == 3
    few = measure_patterns(model, instruments_named(["induction", "sink"]), text(TokenBatch(tokens[2:], mask[2:])))
    assert few.missing == {"induction": "not computed because no token repeats"}


def test_the_shipped_text(tiny_gpt2):
    sample = shipped_text(tiny_gpt2, 3, longest=40)
    found = measure(tiny_gpt2, instruments_named(["first", "self"]), [sample])
    assert found["first"].score.n == 3
    assert "3 chapters of" in found.source


def test_parts_join(grouped):
    repeated, chosen = repeated_tokens(grouped, N, 5), instruments_named(["sink", "previous"])
    whole_one = read_repeats(grouped, chosen, repeated)
    parts = [
        read_repeats(grouped, chosen, repeated._replace(tokens=repeated.tokens[rows], control=repeated.control[rows]))
        for rows in (slice(2), slice(2, 5))
    ]
    again = join(parts)
    assert again.names == ("sink", "previous")
    torch.testing.assert_close(again.score, whole_one.score, atol=1e-6, rtol=0)
    torch.testing.assert_close(again.null, whole_one.null, atol=1e-6, rtol=0)


class TestWeights:
    def test_copying(self, model, monkeypatch):
        monkeypatch.setattr(ov, "DRAWS", 3)
        found = measure(model, instruments_named(["ov_copying", "ov_residual"]), [])
        want = ov_copying(model)
        torch.testing.assert_close(found["ov_copying"].score.mean, want.full.score)
        torch.testing.assert_close(found["ov_residual"].score.mean, want.residual.score)
        assert found["ov_copying"].null_per_sequence.shape == (3, model.cfg.n_layers, model.cfg.n_heads)
        assert not found["ov_copying"].above.any()  # three rotations say nothing

    def test_diagonal(self, with_tokenizer):
        found = measure(with_tokenizer, instruments_named(["ov_top1", "ov_top10"]), [])
        for k in (1, 10):
            want = [copying_accuracy(own_ranks_of(layer, with_tokenizer), k) for layer in range(3)]
            score = found[f"ov_top{k}"]
            torch.testing.assert_close(score.score.mean, torch.stack([one.share for one in want]))
            torch.testing.assert_close(score.score.low, torch.stack([one.low for one in want]))
            p = torch.stack([one.p for one in want])
            assert torch.equal(score.above, p * p.numel() <= 0.05)
            assert score.threshold == share_by_chance(want[0], p.numel())

    @pytest.mark.parametrize("mode", ["Q", "K", "V"])
    def test_feeders(self, model, mode):
        score, want = instrument(f"feeder_{mode.lower()}").measure(model, WEIGHTS), composition(model, mode)
        assert score.score.mean[0].isnan().all()
        for layer in (1, 2):
            torch.testing.assert_close(score.score.mean[layer], want.scores[:layer, :, layer].flatten(0, 1).amax(0))
        assert torch.equal(score.above, want.beyond().flatten(0, 1).any(0))

    def test_prefix_matching(self, grouped):
        repeated = repeated_tokens(grouped, N, 16)
        score = instrument("prefix_matching").measure(grouped, repeats(repeated))
        want = prefix_matching(grouped, head_scores(grouped, repeated)["previous"].score.mean)
        torch.testing.assert_close(score.score.mean, want.score, equal_nan=True)
        assert torch.equal(score.above, want.z > want.reach)

    def test_what_a_model_lacks_is_said(self):
        small = make_model(n_layers=1, n_heads=2)
        found = measure(small, instruments_named(["feeder_q", "ov_top10", "first"]), [])
        assert found.missing == {
            "feeder_q": "not computed because it needs 2 layers and this model has 1",
            "ov_top10": "not computed because it needs a vocabulary of 100 tokens and this model has 97",
            "first": "not computed because none of its samples was given: repeats, text, shipped text",
        }
        with pytest.raises(ValueError, match="needs 2 layers"):
            instrument("feeder_q").measure(small, WEIGHTS)
        assert "no tokenizer" in instrument("first").needs.why_not(small, "text")
        normed = make_model(qk_norm="head")
        assert "normalises queries and keys" in instrument("feeder_k").needs.why_not(normed)
        assert instrument("feeder_v").needs.why_not(normed) == ""


@pytest.fixture(scope="module")
def answers(request) -> Task:
    """Eighteen pairs with right and wrong answers, read at the last token."""
    generator = torch.Generator().manual_seed(1)
    clean, other = torch.randint(1, 90, (2, 18, 7), generator=generator)
    right, wrong = torch.randint(1, 90, (2, 18), generator=generator)
    return Task("made", Pairs.of(clean, other, right.tolist(), wrong.tolist()), (), "made up", (), Metric())


class TestTasks:
    @pytest.mark.parametrize(("how", "put"), [("resample", "other"), ("mean", "mean"), ("zero", "zero")])
    def test_ablation_is_the_sweep_of_the_engine(self, model, answers, how, put):
        score = instrument(f"ablation_{how}").measure(model, task_sample(answers))
        sweep = run_sweep(model, single_heads(answers.pairs, answers.metric, put))
        want = effect(sweep)
        torch.testing.assert_close(score.score.mean, want.value, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(score.score.low, want.low, atol=1e-5, rtol=1e-5)
        assert torch.equal(score.above, want.value.abs() > chance(sweep).reach)
        assert score.kind.unit == "logits"

    def test_repeats_are_a_task(self, grouped):
        repeated = repeated_tokens(grouped, N, 16)
        one = instrument("ablation_zero")
        on_repeats, on_task = (
            one.measure(grouped, s) for s in (repeats(repeated), task_sample(induction_on(repeated)))
        )
        torch.testing.assert_close(on_repeats.score.mean, on_task.score.mean)
        assert on_repeats.kind.unit == "nats"

    def test_direct_effects_are_those_of_the_decomposition(self, model, answers):
        found = direct_effects(model, answers.pairs, answers.metric)
        _, cache = model.run_with_cache(answers.pairs.side("clean").tokens)
        ids = [torch.tensor(each)[:, 0] for each in (answers.pairs.answers, answers.pairs.wrong)]
        direction = model.tokens_to_residual_directions(ids[0]) - model.tokens_to_residual_directions(ids[1])
        parts = whole(cache)
        n_heads = model.cfg.n_layers * model.cfg.n_heads
        always = torch.cat([constant_values(model, layer) for layer in range(model.cfg.n_layers)])
        always = torch.einsum("hd,hdm->hm", always, model.W_O.flatten(0, 1))[:, None, None]
        values = parts.values[:n_heads] - always
        want = logit_contributions(cache, values, direction[:, None].expand(-1, 7, -1))[:, :, -1]
        torch.testing.assert_close(found.flatten(0, 1), want.detach(), atol=1e-4, rtol=1e-4)

    def test_few_pairs_have_no_verdict(self, grouped):
        score = instrument("direct_effect").measure(grouped, repeats(repeated_tokens(grouped, N, 3)))
        assert score.above is None
        assert score.no_verdict == "3 pairs, at least 16 are needed"


@pytest.fixture(scope="module", params=NAMES)
def planted(request):
    """Every instrument that expects something, on one planted model."""
    model = HookedTransformer.from_pretrained(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ov, "DRAWS", 40)
        expecting = [one for one in INSTRUMENTS if one.expected]
        return request.param, measure(model, expecting, [repeats(repeated_tokens(model, 25, 16, 0))])


def test_every_instrument_says_what_was_planted(planted):
    name, scores = planted
    assert scores.missing == {}
    for one in INSTRUMENTS:
        if one.expected:
            check(one, scores[one.name], one.expected[name])


def check(one: Instrument, score, expected: Expected) -> None:
    """Found: a head is above chance, in the claimed direction. The value is that of the largest, whatever its sign."""
    effect = score.score.mean if score.effect is None else score.effect.mean
    found = bool((score.above & (effect > 0)).any())
    assert found == (expected.verdict == FOUND), one.name
    values = score.score.mean.nan_to_num(0).flatten()
    if expected.value is not None and expected.verdict == FOUND:
        assert float(values[values.abs().argmax()]) == pytest.approx(expected.value, abs=5e-3), one.name


def test_rows_hold_what_there_is(grouped):
    found = rows(measure(grouped, instruments_named(["induction", "feeder_v"]), [repeats(repeated_tokens(grouped, N))]))
    assert len(found) == 24
    first = found[0]
    assert first["head"] == "0.0"
    assert first["difference"] == pytest.approx(first["value"] - first["null"], abs=1e-6)
    assert found[12] | {"value": None, "low": None, "difference": None} == found[12]  # nothing feeds layer 0
    assert found[20]["value"] > 0


def test_needs_name_the_samples():
    assert "the weights alone" in Needs(("weights",)).why_not(make_model(), "task")
