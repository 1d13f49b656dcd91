"""Head scores in words: the sentences say what hand-made numbers hold, and nothing more."""

import numpy as np
import pytest
import torch

from lens.analysis import score_results
from lens.analysis.instruments.registry import HEAD_SCORES, instrument, instruments_named
from lens.analysis.names import Head
from lens.analysis.rank_correlation import rank_correlation
from lens.analysis.score_results import HeadScore, Samples, head_score, weights_score
from lens.analysis.score_summary import standing, summary
from lens.analysis.verdicts import too_few
from lens.figures.grid import grid
from lens.ui.pages.head_scores.one_head import this_sequence
from lens.ui.shared import score_words as scores
from lens.ui.shared.score_board import measure, table
from lens.ui.store import to_numpy

KINDS = {one.name: one.kind("repeats") for one in instruments_named(HEAD_SCORES)}


def made(name: str, values: list[list[float]], null: float | None = 0.125, n: int = 16) -> HeadScore:
    """A score that is the same on ``n`` sequences, against a control that is the same for all heads."""
    score = torch.tensor(values).repeat(n, 1, 1)
    control = None if null is None else torch.full_like(score, null)
    return to_numpy(head_score(KINDS[name], Samples(score, control, 0.05, 4 * n), "sequences"))


def n_above(score: HeadScore) -> int:
    return summary(score).n_above


def test_the_notice_counts_the_heads_above_the_threshold():
    text = scores.notice(made("induction", [[0.9, 0.1], [0.2, 0.05]]))
    assert text.startswith("2 of 4 heads look at the token after an earlier occurrence")
    assert "above the null threshold 0.12; 2 with the whole interval" in text
    assert "strongest is 0.0 with 0.90 [0.90, 0.90]; its control 0.12" in text
    assert "alike 0.05" in text


def test_the_notice_is_honest_when_no_head_exceeds_the_threshold():
    score = made("induction", [[0.02, 0.1], [0.03, 0.05]])
    text = scores.notice(score)
    assert text.startswith("None of the 4 heads exceeds the null threshold 0.12")
    assert "The largest is 0.1 with 0.10 [0.10, 0.10], its control 0.12." in text
    assert n_above(score) == 0
    assert standing(score, Head(0, 1)).above is False


def test_a_score_without_threshold_is_called_a_description():
    score = made("entropy", [[0.5, 3.0]], null=None)
    text = scores.notice(score)
    assert "Largest: head 0.1 with 3.00" in text
    assert "smallest: 0.0 with 0.50" in text
    assert "no threshold" in text
    assert standing(score, Head(0, 0)).above is None
    assert standing(score, Head(0, 0)).control is None


def test_the_difference_counts_both_directions():
    text = scores.notice_difference(made("duplicate", [[0.9, 0.1, 0.15]], null=0.3))
    assert "1 of 3 heads exceed their own control by more than 0.30, 0 stay below" in text
    assert "0.60, head 0.0" in text
    assert "changes head 0.1 most: −0.20 nats" in scores.notice_difference(made("entropy", [[0.9, 0.8]], null=1.0))


def test_the_table_is_ranked_and_holds_what_there_is():
    rows = table(made("induction", [[0.2, 0.9], [0.05, 0.4]]))
    assert rows["head"].tolist() == ["0.1", "1.1", "0.0", "1.0"]
    assert rows["rank"].tolist() == [1, 2, 3, 4]
    assert rows["above threshold"].tolist() == [True, True, True, False]
    np.testing.assert_allclose(rows["difference"], [0.775, 0.275, 0.075, -0.075], atol=1e-6)
    bare = table(made("entropy", [[0.2]], null=None, n=3))
    assert list(bare.columns) == ["head", "layer", "index", "score", "rank"]


def test_the_measure_of_the_difference_is_signed_and_has_no_second_control():
    shown = measure(made("induction", [[0.5, 0.05]]), difference=True)
    assert shown.signed
    assert shown.control is None
    np.testing.assert_allclose(shown.values, [[0.375, -0.075]], atol=1e-6)
    assert "minus the same queries and keys" in shown.definition


def test_two_scores_are_compared_by_rank():
    x = made("previous", [[0.1, 0.2, 0.9, 0.95]], null=0.5)
    y = made("induction", [[0.01, 0.02, 0.05, 0.9]], null=0.1)
    means = [score.score.mean for score in (x, y)]
    text = scores.both(x, y, rank_correlation(*means))
    assert "Whether induction and previous token scores order the heads alike is not said: 4 heads; a verdict" in text
    assert "induction 1, previous token 2, both 1" in text
    flat = made("induction", [[0.3] * 4])
    told = scores.both(x, flat, rank_correlation(means[0], flat.score.mean))
    assert "not said: one of the two is the same for all heads" in told


def test_every_sentence_says_how_the_threshold_was_made():
    text = scores.threshold_words(made("induction", [[0.9, 0.1]]))
    assert "64 queries averaged" in text
    assert "over 16 samples of the largest null of any head" in text
    assert "Intervals: 95% studentised bootstrap, no narrower than Student's t, over 16" in scores.threshold_words(
        made("entropy", [[0.5]])
    )


def by_weights(name: str, values: list, above: list | None, effect: list | None = None) -> HeadScore:
    """A number that reads no pattern, with the verdict of a rule of its own; ``effect``: minus its null."""
    tested = score_results.Tested(None if above is None else torch.tensor(above), "a rule", "3 pairs")
    score = weights_score(instrument(name).kind("weights"), torch.tensor(values), torch.zeros(1, 2, 2), tested)
    if effect is not None:
        score = score._replace(effect=score.score._replace(mean=torch.tensor(effect)))
    return to_numpy(score)


FEEDERS = [[float("nan"), float("nan")], [0.25, 0.5]]


def test_a_number_of_weights_is_said_with_its_rule_and_without_queries():
    score = by_weights("feeder_k", FEEDERS, [[False, False], [False, True]])
    assert scores.notice(score) == (
        "1 of 2 heads read by their keys what an earlier head writes more than chance allows. The strongest is 1.1 "
        "with 0.50 share of the product of norms; by chance 0.00."
    )
    text = scores.threshold_words(score)
    assert text.startswith("No interval: the weights alone give it, nothing was sampled. Null: 1/√d_model")
    assert text.endswith("Above chance: a rule.")
    assert "queries" not in text
    assert [scores.verdict(score, Head(*at)) for at in ((0, 0), (1, 0), (1, 1))] == [
        "not applicable",
        "within chance",
        "above chance",
    ]
    rows = table(score)
    assert rows["head"].tolist() == ["1.1", "1.0", "0.0", "0.1"]
    assert rows["rank"].tolist()[:2] == [1, 2]
    assert rows["rank"].isna().tolist() == [False, False, True, True]
    assert list(rows.columns) == ["head", "layer", "index", "score", "null", "above chance", "rank"]
    assert measure(score).below_null().tolist() == [[False, False], [True, False]]


def test_where_no_head_is_above_chance_nothing_is_claimed():
    score = by_weights("ablation_zero", [[0.1, -0.2], [0.0, 0.0]], [[False] * 2] * 2)
    none = "None of the 4 heads can be told from chance: it cannot be said that any are needed."
    assert scores.notice(score).startswith(none)
    few = by_weights("ablation_zero", [[0.1, -0.2], [0.0, 0.0]], None)
    assert "No verdict: 3 pairs. Whether any heads are needed cannot be said here." in scores.notice(few)
    assert scores.verdict(few, Head(0, 0)) == "too few pairs"


def test_a_table_says_what_there_are_too_few_of():
    """Each kind of instrument counts something else: sequences, pairs of prompts, tokens of the vocabulary."""
    few = made("induction", [[0.5]], n=3)
    assert scores.verdict(few, Head(0, 0)) == "too few sequences"
    one = made("induction", [[0.5]], n=1)
    assert one.no_verdict.startswith("1 sequence;")
    assert scores.verdict(one, Head(0, 0)) == "too few sequences"
    tokens = few._replace(n_queries=0, no_verdict=too_few(12, "tokens"))
    assert scores.verdict(tokens, Head(0, 0)) == "too few tokens"
    weights = by_weights("feeder_k", FEEDERS, None)._replace(no_verdict="")
    assert scores.verdict(weights, Head(1, 1)) == "no verdict"


def test_what_stands_out_to_either_side_is_counted_by_side():
    score = by_weights("ablation_zero", [[0.1, -2.0], [1.0, 0.0]], [[False, True], [True, False]])
    text = scores.notice(score)
    assert text.startswith("2 of 4 heads stand out beyond chance, 1 upwards and 1 downwards. The strongest is 0.1 with")
    shown = measure(score)
    assert shown.signed
    assert shown.ranks().tolist() == [[3, 1], [2, 4]]


def test_a_rule_has_no_threshold_to_stand_above():
    x = by_weights("feeder_k", FEEDERS, [[False, False], [True, True]])
    y = made("induction", [[0.9, 0.1], [0.2, 0.05]])
    text = scores.both(x, y, rank_correlation(x.score.mean, y.score.mean))
    assert text.endswith("Above chance: induction 2, strongest feeder by k 2, both 1.")


VERDICTS = ("above", "within chance", "more than chance", "exceed", "than any head")


@pytest.mark.parametrize("n", [1, 4, 15])
@pytest.mark.parametrize("name", ["induction", "duplicate", "previous"])
def test_below_sixteen_samples_no_sentence_holds_a_verdict(name, n):
    score = made(name, [[0.9, 0.1], [0.2, 0.05]], n=n)
    facts = standing(score, Head(0, 0))
    words = [
        scores.notice(score),
        scores.notice_difference(score),
        scores.threshold_words(score),
        scores.both(score, score, rank_correlation(score.score.mean, score.score.mean)),
        this_sequence(score, 0, (0, 0)),
        *table(score).columns,
    ]
    assert facts.above is None
    for text in words:
        assert not any(verdict in text for verdict in VERDICTS), text
    for shown in (measure(score), measure(score, difference=True)):
        assert not shown.below_null().any()
        assert "hatched" not in str(grid(shown))
    assert f"{n} sequence{'s' * (n > 1)}; a verdict needs at least 16" in scores.notice(score)


def test_one_text_is_no_test():
    text = scores.notice(made("induction", [[0.9, 0.1], [0.2, 0.05]], n=1), on_text=True)
    assert not any(verdict in text for verdict in VERDICTS)
    assert "of 4 heads 0.0 with 0.90 seems most to look at the token after an earlier occurrence" in text
    assert "no test" in text


def test_scores_that_equal_their_null_but_for_rounding_are_within_chance():
    values = np.nextafter(np.float32(0.3), np.float32(1), dtype=np.float32)
    score = made("previous", [[float(values), 0.3]], null=0.3)
    assert n_above(score) == 0
    assert measure(score).below_null().all()
    assert table(score)["above threshold"].tolist() == [False, False]
    beyond = made("previous", [[0.3001, 0.3]], null=0.3)
    assert n_above(beyond) == 1
    assert measure(beyond).below_null().tolist() == [[False, True]]
