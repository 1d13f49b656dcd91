"""Head scores, births and phase changes: how often their verdicts speak where there is nothing, and where there is."""

from functools import cache

import pytest
import torch

from lens import HookedTransformer
from lens.analysis.checkpoint import OnRepeats
from lens.analysis.dynamics import Places, head_curve, strongest, summarise
from lens.analysis.head_scores import head_scores, repeat_scores, summarise_scores
from lens.analysis.instruments.patterns import Readings
from lens.analysis.random_tokens import repeated_tokens
from lens.analysis.text_scores import text_scores
from tests.statistics.random_models import KINDS, SEEDS, models
from tests.statistics.rates import check_rate

N, SEQS = 25, 16
TESTED = ("induction", "duplicate", "previous")


@cache
def on_repeats(kind: str) -> tuple[tuple[Readings, object], ...]:
    """Scores per sequence of every random model of a kind, with the sequences."""
    drawn = ((model, repeated_tokens(model, N, SEQS, seed)) for seed, model in enumerate(models(kind)))
    return tuple((repeat_scores(model, repeated), repeated) for model, repeated in drawn)


@pytest.mark.parametrize("kind", KINDS)
def test_random_models_have_no_head_above_chance(kind):
    found = [summarise_scores(*one) for one in on_repeats(kind)]
    for name in TESTED:
        check_rate([bool(scores[name].above.any()) for scores in found])


@pytest.mark.parametrize("kind", KINDS)
def test_few_sequences_say_nothing_at_all(kind):
    for n_seqs in (1, 2, 4, 15):
        scores, repeated = on_repeats(kind)[0]
        few = scores.rows(slice(n_seqs))
        cut = repeated._replace(tokens=repeated.tokens[:n_seqs], control=repeated.control[:n_seqs])
        assert all(summarise_scores(few, cut)[name].above is None for name in TESTED)


@pytest.mark.parametrize("kind", KINDS)
def test_random_runs_have_no_birth_and_no_phase_change(kind):
    """Runs whose checkpoints are different random models."""
    scores = [one for one, _ in on_repeats(kind)]
    born, changed = [], []
    for seed in SEEDS:
        chosen = [scores[(seed + 7 * step) % len(scores)] for step in range(5)]
        repeats = dict(enumerate(map(measured, chosen)))
        curves = summarise([1, 2, 4, 8, 16], repeats, {}, Places())
        changed.append(curves.window.state == "found")
        born.append(head_curve(repeats, strongest(curves)).birth.state == "found")
    check_rate(changed)
    check_rate(born)


def measured(scores: Readings) -> OnRepeats:
    """Scores as a checkpoint has them; its losses play no part."""
    induction, previous, none = scores.of("induction"), scores.of("previous"), torch.zeros(SEQS)
    return OnRepeats(induction.score, induction.null, previous.score, previous.null, none, none)


@pytest.mark.parametrize("kind", ["gpt2-initial", "gpt2-shaken", "llama-shaken"])
def test_random_models_have_no_head_above_chance_on_texts(kind):
    fired = {name: [] for name in TESTED}
    for seed, model in enumerate(models(kind)):
        generator = torch.Generator().manual_seed(seed)
        tokens = torch.randint(1, 60, (SEQS, 40), generator=generator)
        found = text_scores(model, tokens, torch.ones_like(tokens, dtype=torch.bool))
        for name in TESTED:
            fired[name].append(bool(found[name].above.any()))
    for one in fired.values():
        check_rate(one)


@pytest.mark.parametrize(
    ("name", "heads"),
    [
        ("planted-induction", {"induction": [(1, 2)], "duplicate": [(0, 3)], "previous": [(0, 1)]}),
        ("planted-offset", {"previous": [(0, 1)]}),
        ("planted-redundant", {"induction": [(1, 0), (1, 2)]}),
        ("lens-1l", {"induction": [], "previous": [(0, 1)]}),
        ("lens-2l", {"induction": [(1, 1)], "previous": [(0, 1)]}),
    ],
)
def test_what_is_there_is_found(name, heads):
    model = HookedTransformer.from_pretrained(name)
    for seed in range(4):
        found = head_scores(model, repeated_tokens(model, N, SEQS, seed))
        for score, there in heads.items():
            above = [tuple(cell) for cell in found[score].above.nonzero().tolist()]
            assert set(there) <= set(above), (score, seed)
            if not there:
                assert not above
