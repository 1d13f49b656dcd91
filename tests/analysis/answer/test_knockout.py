"""Attention knockout: identities on every family, a naive run beside it, and the planted induction head."""

import pytest
import torch

from lens import HookedTransformer
from lens.analysis.answer.knockout import DRAWS, RESTS, control_cuts, cut_streams, knockout, knockout_of
from lens.analysis.names import Head, HeadCell
from lens.analysis.random_tokens import repeated_tokens
from lens.finite import NotFinite
from lens.planted.layout import COPY, INDUCTION
from tests.families.conftest import lens_of
from tests.families.variants import VARIANTS

TOKENS = torch.randint(0, 110, (1, 13), generator=torch.Generator().manual_seed(6))
CELLS = [(8, 6), (12, 10), (12, 11)]
ACROSS = [
    HeadCell(Head(2, 1), 12, 10),
    HeadCell(Head(0, 0), 8, 6),
    HeadCell(Head(0, 1), 8, 6),
    HeadCell(Head(0, 0), 9, 9),
]


def of_head(*cells, head=(1, 0)):
    return tuple(HeadCell(Head(*head), *cell) for cell in cells)


def entering(model, layer):
    _, cache = model.run_with_cache(TOKENS, names_filter=f"blocks.{layer}.hook_resid_pre")
    return cache["resid_pre", layer]


def logits_of(model, stream):
    return model(stream[None], start_at_layer=model.cfg.n_layers)


@pytest.mark.parametrize("rest", RESTS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_cutting_nothing_changes_nothing(variant, rest):
    model = lens_of(variant)
    (stream,) = cut_streams(model, 1, entering(model, 1), [()], rest)
    torch.testing.assert_close(logits_of(model, stream), model(TOKENS), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_cutting_all_keys_but_one_is_a_one_hot_row(variant):
    model = lens_of(variant)
    _, cache = model.run_with_cache(TOKENS)
    seen = (cache["attn_scores", 1][0, 0, 9] > -torch.inf).nonzero()[:, 0].tolist()
    cut = of_head(*((9, key) for key in seen if key != 8))

    def one_hot(pattern, hook):
        pattern[0, 0, 9] = torch.nn.functional.one_hot(torch.tensor(8), 13)

    (stream,) = cut_streams(model, 1, entering(model, 1), [cut], "renormalised")
    naive = model.run_with_hooks(TOKENS, fwd_hooks=[("blocks.1.attn.hook_pattern", one_hot)])
    torch.testing.assert_close(logits_of(model, stream), naive, atol=1e-5, rtol=1e-5)


def naive_logits(model, cells, rest):
    """One whole forward pass in which the rows are made by hand."""

    def edit(pattern, hook):
        here = [cell for cell in cells if cell.head.layer == hook.layer()]
        for (_, head), query, key in here:
            pattern[0, head, query, key] = 0
        if rest == "renormalised":
            for head, query in {(cell.head.head, cell.query) for cell in here}:
                pattern[0, head, query] /= pattern[0, head, query].sum()

    return model.run_with_hooks(TOKENS, fwd_hooks=[(lambda name: name.endswith("hook_pattern"), edit)])


@pytest.mark.parametrize("rest", RESTS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_run_equals_one_written_by_hand(variant, rest):
    model = lens_of(variant)
    of = knockout(model, (1, 1), TOKENS, CELLS, rest, seed=3, draws=4)
    assert of.heads == (Head(1, 1),)
    assert of.places == (8, 12)
    assert of.following.tolist() == [int(TOKENS[0, 9]), -1]
    every_run_by_hand(model, of, rest)


@pytest.mark.parametrize("rest", RESTS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_cells_of_several_heads_and_layers_are_cut_together(variant, rest):
    model = lens_of(variant)
    of = knockout_of(model, ACROSS, TOKENS, rest, seed=3, draws=3)
    assert of.runs[1] == tuple(ACROSS)
    assert of.heads == (Head(0, 0), Head(0, 1), Head(2, 1))
    assert of.places == (8, 9, 12)
    patterns = model.run_with_cache(TOKENS)[1]
    had = sum(float(patterns["pattern", cell.head.layer][0, cell.head.head, cell.query, cell.key]) for cell in ACROSS)
    assert float(of.removed[1]) == pytest.approx(had, abs=1e-5)
    every_run_by_hand(model, of, rest)


def every_run_by_hand(model, of, rest):
    uncut = model(TOKENS)[0].log_softmax(-1)
    for run, cells in enumerate(of.runs):
        logits = naive_logits(model, cells, rest)[0]
        logprob = logits.log_softmax(-1)
        at = list(of.places)
        torch.testing.assert_close(of.logit[run], logits[at].gather(-1, of.tokens), atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(of.logprob[run], logprob[at].gather(-1, of.tokens), atol=2e-5, rtol=1e-4)
        kl = (uncut.exp() * (uncut - logprob)).sum(-1)[at]
        torch.testing.assert_close(of.kl[run], kl, atol=1e-5, rtol=1e-3)
        loss = -logprob[:-1].gather(-1, TOKENS[0, 1:, None])[:, 0]
        torch.testing.assert_close(of.loss[run], loss, atol=2e-5, rtol=1e-4)
    assert float(of.kl[1].max()) > 1e-6
    assert not of.changed[:, :8].any()  # what comes before the first query is not touched


def test_the_following_token_stands_among_the_likeliest():
    of = knockout(lens_of("gpt2"), (0, 1), TOKENS, [(5, 2)])
    assert int(TOKENS[0, 6]) in of.tokens[0].tolist()
    assert of.tokens.shape == (2, 8)


def test_controls_are_as_many_other_cells_of_the_same_queries():
    allowed = {1: torch.ones(13, 13).tril().bool()}
    cut = of_head(*CELLS)
    controls = control_cuts(allowed, cut, DRAWS, seed=0)
    assert controls == control_cuts(allowed, cut, DRAWS, seed=0) != control_cuts(allowed, cut, DRAWS, seed=1)
    assert 1 < len(controls) <= DRAWS == len(controls)
    for cells in controls:
        assert [cell.query for cell in cells] == [8, 12, 12]
        assert len(set(cells)) == 3
        assert not set(cells) & set(cut)
        assert all(allowed[1][cell.query, cell.key] for cell in cells)


def test_controls_of_several_heads_stay_with_their_heads():
    allowed = dict.fromkeys((0, 2), torch.ones(13, 13).tril().bool())
    controls = control_cuts(allowed, tuple(ACROSS), DRAWS, seed=0)
    assert len(controls) > 1
    for cells in controls:
        assert sorted((cell.head, cell.query) for cell in cells) == sorted((cell.head, cell.query) for cell in ACROSS)
        assert not set(cells) & set(ACROSS)


def test_a_query_that_sees_little_has_few_controls_or_none():
    allowed = {1: torch.ones(13, 13).tril().bool()}
    assert control_cuts(allowed, of_head((1, 1)), DRAWS, 0) == (of_head((1, 0)),)
    assert control_cuts(allowed, of_head((0, 0)), DRAWS, 0) == ()
    of = knockout(lens_of("gpt2"), (0, 0), TOKENS, [(0, 0)], "lost")
    assert len(of.runs) == 2


@pytest.mark.parametrize(("cells", "rest", "says"), [
    ([], "lost", "no cell is named"),
    ([(3, 7)], "lost", "query 3 does not see key 7"),
    ([(13, 1)], "lost", "no cell 13-1 in a text of 13 tokens"),
    ([(1, 0), (1, 1)], "renormalised", "query 1 would have no key left"),
    ([(1, 0)], "both", "must be one of renormalised, lost"),
])  # fmt: skip
def test_what_cannot_be_cut_is_said(cells, rest, says):
    with pytest.raises(ValueError, match=says):
        knockout(lens_of("gpt2"), (0, 0), TOKENS, cells, rest)


def test_weights_that_are_not_finite_are_named():
    model = lens_of("gpt2").__class__.from_state(lens_of("gpt2").cfg, dict(lens_of("gpt2").state_dict()))
    weight = model.blocks[2].attn.W_O
    model.blocks[2].attn.W_O = torch.nn.Parameter(weight.detach().clone().fill_(torch.nan))
    with pytest.raises(NotFinite, match="layer 2"):
        knockout(model, (0, 0), TOKENS, [(5, 2)])


@pytest.mark.parametrize("rest", RESTS)
def test_cutting_the_stripe_of_the_planted_induction_head_takes_the_answer_away(rest):
    """The head looks at one key, and writes its token: without it the logit falls to that of any other token."""
    model = HookedTransformer.from_pretrained("planted-induction")
    tokens = repeated_tokens(model, n=8, n_seqs=1, seed=0).tokens
    query, key = 12, 12 - 8 + 1
    of = knockout(model, INDUCTION, tokens, [(query, key)], rest)
    place, right = of.places.index(query), int(tokens[0, key])
    assert right == int(of.following[place])
    logit = of.logit[:, place, of.tokens[place].tolist().index(right)]
    assert float(of.removed[1]) == pytest.approx(1, abs=1e-6)
    assert float(logit[0]) == pytest.approx(COPY, abs=1e-3)
    assert float(logit[1]) == pytest.approx(0, abs=1e-3)
    assert len(of.runs) > 8
    torch.testing.assert_close(logit[2:], logit[:1].expand(len(of.runs) - 2), atol=1e-4, rtol=0)
    assert float(of.removed[2:].max()) < 1e-6
    assert float(of.kl[2:].max()) < 1e-6
    assert float(of.changed[1, query]) == pytest.approx(float(of.changed[1].abs().max()))  # no later loss moves
    assert float(of.changed[2:].abs().max()) < 1e-5
