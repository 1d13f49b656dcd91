"""Why a head looks there: contrasts add up, planted circuits are named, cuts confirm what attribution says."""

import pytest
import torch

from lens import HookedTransformer
from lens.analysis.answer.feeder_cuts import control_of, cut_feeders, induction_cuts
from lens.analysis.answer.head_inputs import Write
from lens.analysis.answer.qk_attribution import (
    Cells,
    contrast_weights,
    induction_attribution,
    induction_cells,
    qk_attribution,
)
from lens.analysis.answer.reasons import stripe_reasons
from lens.analysis.names import Head
from lens.analysis.random_tokens import repeated_tokens
from tests.families.conftest import lens_of
from tests.families.variants import VARIANTS

TOKENS = torch.randint(0, 110, (3, 13), generator=torch.Generator().manual_seed(4))
CELLS = Cells((8, 12, 11), (6, 10, 11))


def score_contrast(scores, cells, weights):
    """The contrast read from scores themselves, mean over cells; keys that a query may not see count nothing."""
    rows = scores[:, list(cells.queries)]
    return (rows.masked_fill(weights == 0, 0) * weights).sum(-1).mean(-1)


@pytest.fixture(scope="module")
def two_layers():
    return HookedTransformer.from_pretrained("lens-2l")


@pytest.fixture(scope="module")
def repeated(two_layers):
    return repeated_tokens(two_layers, n=25, n_seqs=8, seed=0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_pairs_and_bias_sum_to_the_contrast_of_the_scores(variant):
    model = lens_of(variant)
    head = Head(model.cfg.n_layers - 1, 0)
    parts = qk_attribution(model, head, TOKENS, CELLS)
    name = f"blocks.{head.layer}.attn.hook_attn_scores"
    scores = model.run_with_cache(TOKENS, names_filter=name)[1][name][:, head.head]
    if model.cfg.attn_softcap is not None:
        scores = model.cfg.attn_softcap * torch.atanh(scores / model.cfg.attn_softcap)
    actual = score_contrast(scores, CELLS, contrast_weights(model, head.layer, CELLS, TOKENS.shape[1]))
    torch.testing.assert_close(parts.total, actual, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(parts.pairs.sum() + parts.bias.mean(), actual.mean(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(parts.pairs.sum(1), parts.query_side.mean(0), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(parts.pairs.sum(0), parts.key_side.mean(0), atol=1e-5, rtol=1e-4)


def test_a_contrast_leaves_out_the_first_token_and_what_is_not_seen():
    model = lens_of("gpt2")
    weights = contrast_weights(model, 0, Cells((4,), (2,)), 6)
    assert weights.tolist() == [[0, pytest.approx(-1 / 3), 1, pytest.approx(-1 / 3), pytest.approx(-1 / 3), 0]]


def test_the_control_is_subtracted_sequence_by_sequence(two_layers, repeated):
    cells = induction_cells(repeated)
    both = induction_attribution(two_layers, (1, 1), repeated)
    plain, control = (qk_attribution(two_layers, (1, 1), ids, cells) for ids in (repeated.tokens, repeated.control))
    torch.testing.assert_close(both.total, plain.total - control.total)
    torch.testing.assert_close(both.control, control.total)
    with_itself = qk_attribution(two_layers, (1, 1), repeated.tokens, cells, repeated.tokens)
    assert not with_itself.pairs.any()
    assert not with_itself.total.any()


def test_the_numbers_of_a_trained_induction_head(two_layers, repeated):
    """Measured independently: contrast 7.14, key side 0.1 4.59 and 0.2 2.24, query side 0.3 4.41 and 0.1 2.26."""
    parts = qk_attribution(two_layers, (1, 1), repeated.tokens, induction_cells(repeated))
    assert float(parts.total.mean()) == pytest.approx(7.14, abs=0.01)
    keys, queries = ({str(write): value for write, value in parts.strongest(side, 3)} for side in "kq")
    assert keys == {
        "0.1": pytest.approx(4.59, abs=0.01),
        "0.2": pytest.approx(2.24, abs=0.01),
        "0.0": pytest.approx(0.31, abs=0.01),
    }
    assert queries == {
        "0.3": pytest.approx(4.41, abs=0.01),
        "0.1": pytest.approx(2.26, abs=0.01),
        "embedding": pytest.approx(0.22, abs=0.01),
    }
    pairs = [(str(query), str(key)) for query, key, _ in parts.strongest_pairs(2)]
    assert pairs == [("0.3", "0.1"), ("0.1", "0.2")]


def test_cuts_name_the_same_heads_in_the_same_order(two_layers, repeated):
    """Measured independently: .722 uncut; by K 0.1 .059, 0.2 .281, 0.0 .665; by Q 0.3 .073, 0.1 .284, 0.0 .683."""
    wanted = {
        "k": [("0.1", 0.059), ("0.2", 0.281), ("0.0", 0.665)],
        "q": [("0.3", 0.073), ("0.1", 0.284), ("0.0", 0.683)],
    }
    for side, rows in wanted.items():
        cuts = induction_cuts(two_layers, (1, 1), repeated, side)
        assert float(cuts.uncut.mean()) == pytest.approx(0.722, abs=0.001)
        assert [(str(write), pytest.approx(left, abs=0.001)) for write, left in cuts.strongest(3)] == rows


@pytest.mark.parametrize("side", ["q", "k"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_cutting_with_the_run_itself_changes_nothing_and_a_cut_is_a_patched_stream(variant, side):
    """The slow way: the stream at the head's own input, by hand, one head at a time."""
    model = lens_of(variant)
    cfg = model.cfg
    head = Head(cfg.n_layers - 1, cfg.n_heads - 1)
    other = TOKENS.roll(1, dims=0)
    same = cut_feeders(model, head, TOKENS, TOKENS, CELLS, side)
    name = f"blocks.{head.layer}.attn.hook_pattern"
    pattern = model.run_with_cache(TOKENS, names_filter=name)[1][name][:, head.head]
    torch.testing.assert_close(same.uncut, pattern[:, CELLS.queries, CELLS.keys].mean(1), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(same.attention, same.uncut.expand_as(same.attention), atol=1e-6, rtol=1e-4)

    cuts = cut_feeders(model, head, TOKENS, other, CELLS, side)
    at = cuts.writes.index(Write("embedding"))
    change = model.embed(other) - model.embed(TOKENS)
    which = head.head if side == "q" else head.head // cfg.group_size

    def patch(resid, hook):
        resid[:, :, which] += change

    with model.hooks([(f"blocks.{head.layer}.hook_{side}_input", patch)]):
        slow = model.run_with_cache(TOKENS, names_filter=name)[1][name][:, head.head]
    torch.testing.assert_close(cuts.attention[at], slow[:, CELLS.queries, CELLS.keys].mean(1), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["planted-induction", "planted-decoy"])
def test_the_planted_circuit_is_named_exactly(name):
    model = HookedTransformer.from_pretrained(name)
    repeated = repeated_tokens(model, n=8, n_seqs=4)
    head = Head(1, 2)
    scores = model.run_with_cache(repeated.tokens)[1]["pattern", 1]
    head = Head(1, int(scores[:, :, repeated.queries, [q - 7 for q in repeated.queries]].mean((0, 2)).argmax()))
    reasons = stripe_reasons(model, head, repeated)
    (asks, answers, value), (*_, second) = reasons.attribution.strongest_pairs(2)
    assert (str(asks), str(answers)) == ("embedding", "0.1")
    total = float(reasons.attribution.total.mean())
    assert value == pytest.approx(total, rel=1e-3)
    assert abs(second) < 1e-3 * total
    (cut, left), *_ = reasons.cut_from_keys.strongest(1)
    assert str(cut) == "0.1"
    assert left < 0.05


def test_controls_take_the_repetition_from_the_side_that_reads_it(two_layers, repeated):
    bos, n = repeated.bos, repeated.n
    first, second = control_of(repeated, "k"), control_of(repeated, "q")
    assert torch.equal(first[:, bos + n :], repeated.tokens[:, bos + n :])
    assert torch.equal(second[:, : bos + n], repeated.tokens[:, : bos + n])
    assert not (first[:, bos : bos + n] == repeated.tokens[:, bos : bos + n]).any()


def test_bad_cells_and_controls_are_refused(two_layers, repeated):
    for cells, said in (
        (Cells((5,), (0,)), "resting place"),
        (Cells((5,), (6,)), "0 < key ≤ query"),
        (Cells((5, 6), (1,)), "one key per query"),
        (Cells((1,), (1,)), "sees no key beside"),
    ):
        with pytest.raises(ValueError, match=said):
            qk_attribution(two_layers, (1, 1), repeated.tokens, cells)
    with pytest.raises(ValueError, match="wanted that of the tokens"):
        qk_attribution(two_layers, (1, 1), repeated.tokens, induction_cells(repeated), repeated.control[:2])
    with pytest.raises(ValueError, match="'q' or 'k'"):
        cut_feeders(two_layers, (1, 1), repeated.tokens, repeated.control, induction_cells(repeated), "v")
