"""Why a head looks there: how often a mechanism is named where there is none, and what its interval holds."""

from functools import cache
from typing import NamedTuple

import pytest
import torch

from lens import HookedTransformer
from lens.analysis.answer.mechanism import Kinds, Mechanism, kinds_of, mechanism
from lens.analysis.answer.qk_attribution import induction_cells, qk_attribution
from lens.analysis.answer.reasons import Reasons, stripe_reasons
from lens.analysis.head_scores import head_scores
from lens.analysis.random_tokens import repeated_tokens
from lens.analysis.stats import estimate
from tests.statistics.random_models import models
from tests.statistics.rates import check_coverage, check_rate

N, SEQS = 25, 16
KINDS = ("gpt2-initial", "gpt2-shaken", "llama-shaken")  # of all kinds none names one; these take the least time
NAMED = ("previous", "duplicate", "both")


class Asked(NamedTuple):
    """A head of the last layer of a model of random weights, as the page asks about it."""

    reasons: Reasons
    kinds: Kinds
    looks: bool


@cache
def asked(kind: str) -> tuple[tuple[Asked, ...], ...]:
    """All heads of the last layer of every random model of a kind."""
    found = []
    for seed, model in enumerate(models(kind)):
        repeated = repeated_tokens(model, N, SEQS, seed)
        scores = head_scores(model, repeated, names=("induction", "previous", "duplicate"))
        kinds, last = kinds_of(scores["previous"].above, scores["duplicate"].above), model.cfg.n_layers - 1
        looks = scores["induction"].above[last].tolist()
        heads = [(last, head) for head in range(model.cfg.n_heads)]
        found.append(tuple(Asked(stripe_reasons(model, head, repeated), kinds, one) for head, one in zip(heads, looks)))
    return tuple(found)


pytestmark = pytest.mark.statistics


def is_named(found: Mechanism) -> bool:
    return found.verdict.found and found.name in NAMED


@pytest.mark.parametrize("kind", KINDS)
def test_random_models_have_no_mechanism(kind):
    """Of all heads of a model together; also of heads that are asked about whether or not they look there."""
    check_rate([any(is_named(mechanism(*one)) for one in model) for model in asked(kind)])
    check_rate([any(is_named(mechanism(*one._replace(looks=True))) for one in model) for model in asked(kind)])


@pytest.mark.parametrize("kind", KINDS)
def test_a_contrast_is_explained_only_where_the_head_looks(kind):
    check_rate([any(mechanism(*one).verdict.found for one in model) for model in asked(kind)])


@pytest.mark.parametrize(("head", "name"), [((1, 1), "lens-2l"), ((1, 3), "lens-2l"), ((1, 0), "planted-random")])
def test_the_interval_of_a_contrast_holds_it(head, name):
    """100 samples of 16 sequences; the truth is the mean of all of them."""
    model = HookedTransformer.from_pretrained(name)
    totals = []
    for seed in range(10):
        repeated = repeated_tokens(model, N, 10 * SEQS, seed)
        sides = (qk_attribution(model, head, ids, induction_cells(repeated)) for ids in repeated[:2])
        text, control = (one.total for one in sides)
        totals.append(text - control)
    samples = torch.cat(totals).view(100, SEQS)
    intervals = [estimate(one, seed=seed) for seed, one in enumerate(samples)]
    check_coverage([float(one.low) <= float(samples.mean()) <= float(one.high) for one in intervals])
