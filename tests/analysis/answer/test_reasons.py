"""Reasons in both ways: a cut is the model's own run with one write exchanged; mechanisms from hand-made shares."""

import pytest
import torch

from lens import HookedTransformer
from lens.analysis.answer import qk_attribution as qk
from lens.analysis.answer.feeder_cuts import FeederCuts, cut_feeders
from lens.analysis.answer.head_inputs import Write
from lens.analysis.answer.mechanism import Kinds, heads_above, kinds_of, mechanism, side_of
from lens.analysis.answer.pair_cut import Onward, PairCut
from lens.analysis.answer.qk_attribution import Cells, QKAttribution, qk_attribution
from lens.analysis.answer.reasons import (
    DRAWS,
    Reasons,
    cell_pair,
    cell_reasons,
    random_texts,
    stripe_pair,
    stripe_reasons,
)
from lens.analysis.names import Head
from lens.analysis.random_tokens import repeated_tokens
from lens.decompose import head_writes
from tests.families.conftest import lens_of
from tests.families.variants import VARIANTS

PLANTED = ("planted-induction", "planted-decoy", "planted-anticopy")
HEAD = Head(1, 1)


@pytest.fixture(scope="module")
def two_layers():
    return HookedTransformer.from_pretrained("lens-2l")


@pytest.fixture(scope="module")
def repeated(two_layers):
    return repeated_tokens(two_layers, n=12, n_seqs=16, seed=0)


@pytest.fixture(scope="module")
def reasons(two_layers, repeated):
    return stripe_reasons(two_layers, HEAD, repeated)


def second_copy_loss(model, repeated, hooks=()):
    loss = model.run_with_hooks(repeated.tokens, return_type="loss", loss_per_token=True, fwd_hooks=list(hooks))
    return loss[:, repeated.bos + repeated.n :].mean(1)


@torch.no_grad()
def test_uncut_is_the_models_own_attention_and_loss(two_layers, repeated, reasons):
    cells = qk.induction_cells(repeated)
    _, cache = two_layers.run_with_cache(repeated.tokens)
    own = cache["pattern", 1][:, 1][:, list(cells.queries), list(cells.keys)].mean(1)
    torch.testing.assert_close(reasons.pair.attention[0], own, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(reasons.pair.loss[0], second_copy_loss(two_layers, repeated), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_cut_is_the_run_with_that_write_exchanged_in_the_heads_own_input(two_layers, repeated, reasons):
    """Keys by hand: the stream less the head's write, plus that of the run whose first copy is of other tokens."""
    pair, cfg = reasons.pair, two_layers.cfg
    assert (str(pair.asks), str(pair.answers)) == ("0.3", "0.1")
    bos, n = repeated.bos, repeated.n
    first = torch.cat([repeated.tokens[:, :bos], repeated.control[:, bos + n :], repeated.tokens[:, bos : bos + n]], 1)
    runs = [two_layers.run_with_cache(ids)[1] for ids in (repeated.tokens, first)]
    written = [cache["z", 0][:, :, 1] @ two_layers.W_O[0, 1] for cache in runs]
    block = two_layers.blocks[1]
    stream = runs[0]["resid_pre", 1] - written[0] + written[1]
    keys = block.ln1(stream) @ block.attn.W_K[1] + block.attn.b_K[1]

    def replace(k, hook):
        k[:, :, 1] = keys
        return k

    assert cfg.n_kv_heads in (None, cfg.n_heads)
    hook = ("blocks.1.attn.hook_k", replace)
    loss = second_copy_loss(two_layers, repeated, [hook])
    torch.testing.assert_close(pair.loss[2], loss, atol=1e-3, rtol=1e-4)
    at = reasons.cut_from_keys.writes.index(pair.answers)
    torch.testing.assert_close(pair.attention[2], reasons.cut_from_keys.attention[at], atol=1e-5, rtol=1e-4)
    at = reasons.cut_from_queries.writes.index(pair.asks)
    torch.testing.assert_close(pair.attention[1], reasons.cut_from_queries.attention[at], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("side", ["q", "k"])
@torch.no_grad()
def test_every_cut_of_every_family_is_the_run_with_that_write_exchanged(variant, side):
    """The write and the norm by hand, in queries or keys at all positions; the model makes the pattern."""
    model = lens_of(variant)
    head, cells = Head(model.cfg.n_layers - 1, 1), Cells((7, 9), (3, 4))
    tokens, other = torch.randint(0, 110, (2, 3, 12), generator=torch.Generator().manual_seed(3))
    other[:, :4] = tokens[:, :4]
    found = cut_feeders(model, head, tokens, other, cells, side)
    which = torch.tensor(1 if side == "q" else 1 // model.cfg.group_size)
    runs = [model.run_with_cache(ids)[1] for ids in (tokens, other)]
    for at, write in enumerate(found.writes):
        if write.kind == "head":
            written = [head_writes(cache, write.layer)[:, :, write.head] for cache in runs]
        else:
            written = [cache["hook_embed" if write.kind == "embedding" else ("mlp_out", write.layer)] for cache in runs]
        change = written[1] - written[0]
        one = torch.nn.functional.one_hot(which, model.cfg.n_heads if side == "q" else model.cfg.n_kv_heads)
        added = change[:, :, None] * one[:, None]
        hook = (f"blocks.{head.layer}.hook_{side}_input", lambda x, hook, added=added: x + added)
        name = f"blocks.{head.layer}.attn.hook_pattern"
        kept = {}
        model.run_with_hooks(
            tokens, fwd_hooks=[hook, (name, lambda x, hook, kept=kept: kept.update(pattern=x.clone()))]
        )
        wanted = kept["pattern"][:, 1][:, list(cells.queries), list(cells.keys)].mean(1)
        torch.testing.assert_close(found.attention[at], wanted, atol=1e-5, rtol=1e-4)


def test_queries_and_keys_that_read_the_same_other_tokens_match_again(reasons):
    uncut, queries, keys, both = reasons.pair.attention.mean(1).tolist()
    assert max(queries, keys) < 0.2 * uncut
    assert both > 0.8 * uncut


@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_every_family_goes_on_from_the_layer_as_it_was(variant):
    model = lens_of(variant)
    tokens = torch.randint(0, 110, (1, 12), generator=torch.Generator().manual_seed(3))
    head = Head(model.cfg.n_layers - 1, 1)
    found = cell_reasons(model, head, tokens, query=10, key=9)
    logits = model(tokens)[0, 10]
    loss = -logits.log_softmax(-1)[tokens[0, 11]]
    torch.testing.assert_close(found.pair.loss[0], loss.expand(DRAWS), atol=1e-4, rtol=1e-4)
    assert found.pair.attention.shape == (4, DRAWS)
    assert found.attribution.total.shape == (DRAWS,)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("first_changed", [0, 6, 9, 12])
@torch.no_grad()
def test_a_pattern_that_changes_late_is_the_whole_run_with_it(variant, first_changed):
    model = lens_of(variant)
    tokens = torch.randint(0, 110, (3, 12), generator=torch.Generator().manual_seed(3))
    layer, cells = model.cfg.n_layers - 2, Cells((8, 10, 11), (3, 4, 5))
    _, cache = model.run_with_cache(tokens)
    own = cache["pattern", layer][:, 1]
    changed = own.clone()
    changed[1:, first_changed:] = changed[1:, first_changed:].roll(1, dims=0)
    onward = Onward(model, Head(layer, 1), cache["resid_pre", layer], tokens, cells)

    def replace(x, hook):
        x[:, 1] = pattern
        return x

    for pattern in (own, changed, own):
        hook = (f"blocks.{layer}.attn.hook_pattern", replace)
        loss = model.run_with_hooks(tokens, return_type="loss", loss_per_token=True, fwd_hooks=[hook])
        torch.testing.assert_close(onward.loss(pattern), loss[:, [8, 10]].mean(1), atol=1e-4, rtol=1e-4)


def test_a_chosen_pair_is_the_same_cut(two_layers, repeated, reasons):
    again = stripe_pair(two_layers, HEAD, repeated, reasons.pair.asks, reasons.pair.answers)
    torch.testing.assert_close(again.attention, reasons.pair.attention)
    torch.testing.assert_close(again.loss, reasons.pair.loss)
    tokens = repeated.tokens[:1]
    cell = cell_reasons(two_layers, HEAD, tokens, 20, 9, seed=2)
    again = cell_pair(two_layers, HEAD, tokens, 20, 9, cell.pair.asks, cell.pair.answers, seed=2)
    torch.testing.assert_close(again.attention, cell.pair.attention)
    with pytest.raises(ValueError, match=r"no write 1\.0 before layer 1"):
        stripe_pair(two_layers, HEAD, repeated, Write("head", 1, 0), Write("embedding"))


def test_a_cell_is_read_against_random_texts_that_begin_alike(two_layers, repeated):
    tokens = repeated.tokens[:1]
    found, cells = cell_reasons(two_layers, HEAD, tokens, 20, 9, seed=1), Cells((20,), (9,))
    other = random_texts(two_layers, tokens, 1)
    assert other.shape == (DRAWS, tokens.shape[1])
    assert (other[:, 0] == tokens[0, 0]).all()
    alone, control = (qk_attribution(two_layers, HEAD, ids, cells) for ids in (tokens, other))
    torch.testing.assert_close(found.text.total, alone.total.expand(DRAWS), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.control.total, control.total, atol=1e-4, rtol=1e-4)
    cuts = cut_feeders(two_layers, HEAD, tokens.expand(DRAWS, -1), other, cells, "q")
    torch.testing.assert_close(found.cut_from_queries.attention, cuts.attention, atol=1e-5, rtol=1e-4)
    last = cell_reasons(two_layers, HEAD, tokens, tokens.shape[1] - 1, 9)
    assert last.pair.loss.isnan().all()  # nothing comes after the last token


def test_few_rows_at_once_change_nothing(two_layers, repeated, monkeypatch):
    cells = qk.induction_cells(repeated)
    whole = qk_attribution(two_layers, HEAD, repeated.tokens, cells)
    monkeypatch.setattr(qk, "BYTES", 1)
    small = qk_attribution(two_layers, HEAD, repeated.tokens, cells)
    torch.testing.assert_close(small.pairs, whole.pairs, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(small.key_side, whole.key_side, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", PLANTED)
def test_planted_heads_are_fed_by_the_planted_one_and_cutting_it_leaves_nothing(name):
    model = HookedTransformer.from_pretrained(name)
    found = stripe_reasons(model, (1, 2), repeated_tokens(model, 25, 16, 0))
    kinds = Kinds(frozenset({(0, 1)}), frozenset({(0, 3)}))
    said = mechanism(found, kinds)
    assert (said.name, said.verdict.state) == ("previous", "found")
    assert said.explained == pytest.approx(1, abs=1e-3)
    keys, queries = side_of(found, "k"), side_of(found, "q")
    assert (str(keys.write), str(queries.write)) == ("0.1", "embedding")
    assert float(keys.left.mean) < 1e-6
    assert keys.confirmed
    assert queries.confirmed


def test_positions_are_found_as_positions_alone():
    model = HookedTransformer.from_pretrained("planted-offset")
    found = stripe_reasons(model, (1, 2), repeated_tokens(model, 25, 16, 0))
    said = mechanism(found, Kinds(frozenset({(0, 1)}), frozenset()), looks=False)
    assert (said.name, said.control_too, said.verdict.state) == ("positions", True, "none")
    assert said.explained == pytest.approx(1, abs=1e-3)
    assert found.pair.same == (True, True)
    assert side_of(found, "k").confirmed is None


WRITES = (Write("embedding"), Write("positions"), Write("head", 0, 0), Write("head", 0, 1), Write("biases"))
KINDS = Kinds(frozenset({(0, 1)}), frozenset({(0, 0)}))


def by_hand(pairs, control=0.0, n=16, lost=0.5) -> Reasons:
    """Reasons with these ``pairs`` {(asks, answers): value}, the same in ``n`` sequences but for noise."""
    matrix = torch.zeros(5, 5)
    for place, value in pairs.items():
        matrix[place] = value
    noise = torch.randn(n, 1, generator=torch.Generator().manual_seed(0))
    noise = 1 + 0.01 * (noise - noise.mean())

    def attribution(size):
        sides = (matrix.sum(1) * noise * size, matrix.sum(0) * noise * size)
        return QKAttribution(Head(1, 0), WRITES, matrix * size, *sides, torch.zeros(n), None)

    uncut = 0.8 * noise[:, 0]
    cut = uncut - lost * torch.ones(3, 1) * noise[:, 0]
    cuts = [FeederCuts(Head(1, 0), side, (WRITES[0], *WRITES[2:4]), cut, uncut) for side in "qk"]
    pair = PairCut(WRITES[0], WRITES[3], torch.zeros(4, n), torch.zeros(4, n), (False, False))
    return Reasons(attribution(1.0), attribution(control), *cuts, pair)


@pytest.mark.parametrize(
    ("pairs", "name", "explained"),
    [
        ({(0, 3): 4.0}, "previous", 1.0),
        ({(2, 0): 4.0}, "duplicate", 1.0),
        ({(2, 3): 3.0, (0, 4): 1.0}, "both", 0.75),
        ({(0, 3): 2.0, (4, 0): 2.0}, "previous", 0.5),
        ({(0, 4): 4.0}, "other", 0.0),
        ({(1, 1): 3.0, (0, 3): 1.0}, "positions", 0.75),
        ({(0, 3): 0.9, (0, 4): 3.1}, "other", 0.0),  # less than a quarter names nothing
        ({(0, 3): -4.0}, "other", 0.0),
    ],
)
def test_mechanisms_by_hand(pairs, name, explained):
    said = mechanism(by_hand(pairs), KINDS)
    assert said.name == name
    assert said.explained == pytest.approx(explained, abs=1e-5)
    assert said.unexplained == pytest.approx(1 - explained, abs=1e-5)


def test_what_carries_no_verdict():
    pairs = {(0, 3): 4.0}
    assert mechanism(by_hand(pairs), KINDS).verdict.state == "found"
    assert mechanism(by_hand(pairs, n=8), KINDS).verdict.state == "unknown"
    assert mechanism(by_hand(pairs), KINDS, looks=None).verdict.state == "unknown"
    assert mechanism(by_hand(pairs), KINDS, looks=False).verdict.state == "none"
    assert mechanism(by_hand(pairs, control=1.0), KINDS).verdict.state == "none"
    assert mechanism(by_hand({(0, 3): -4.0}), KINDS).verdict.state == "none"
    assert mechanism(by_hand(pairs, control=0.9), KINDS).control_too


def test_a_cut_confirms_only_what_it_takes_away():
    assert side_of(by_hand({(0, 3): 4.0}), "k").confirmed
    assert side_of(by_hand({(0, 3): 4.0}, lost=0.0), "k").confirmed is False
    assert side_of(by_hand({(0, 3): 4.0}, lost=-0.1), "k").confirmed is False
    assert side_of(by_hand({(0, 3): 4.0}, n=8), "k").confirmed is None


def test_kinds():
    above = torch.tensor([[True, False], [False, True]])
    assert heads_above(above) == {(0, 0), (1, 1)}
    assert heads_above(None) is None
    kinds = kinds_of(above, None)
    assert kinds.of(Write("head", 0, 0)) == "previous-token head"
    assert kinds.of(Write("head", 0, 1)) == kinds.of(Write("embedding")) == ""
    assert kinds_of(above, above).of(Write("head", 1, 1)) == "previous-token and duplicate-token head"
