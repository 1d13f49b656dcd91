import pytest
import torch

from lens.analysis.head_scores import head_scores
from lens.analysis.random_tokens import repeated_tokens
from lens.analysis.text_scores import text_scores, text_weights

N = 7


def full(tokens):
    return torch.ones_like(tokens, dtype=torch.bool)


def test_on_repeated_random_tokens_it_equals_the_head_scores(model):
    repeated = repeated_tokens(model, N)
    want, found = head_scores(model, repeated), text_scores(model, repeated.tokens, full(repeated.tokens))
    assert found.missing == {}
    for name, score in found.scores.items():
        torch.testing.assert_close(score.per_sequence, want[name].per_sequence, atol=1e-6, rtol=0)
        torch.testing.assert_close(score.score.low, want[name].score.low, atol=1e-6, rtol=0)
        assert score.uniform == pytest.approx(
            want[name].uniform if name != "entropy" else float(score.uniform), abs=1e-6
        )
        assert score.n_queries == want[name].n_queries
    torch.testing.assert_close(found["previous"].null_mean, want["previous"].null_mean, atol=1e-6, rtol=0)


def naive_pairs(text):
    """Keys of each query: after an earlier occurrence, and at one; by plain loops."""
    after = {q: [k for k in range(1, q) if text[k - 1] == text[q]] for q in range(len(text))}
    at = {q: [k for k in range(1, q) if text[k] == text[q]] for q in range(len(text))}
    return after, at


@pytest.mark.parametrize("side", ["left", "right"])
def test_weights_equal_loops(ragged, side):
    tokens, mask, texts = ragged(side)
    weights = text_weights(tokens, mask)
    for row, text in enumerate(texts):
        start = int(mask[row].int().argmax())
        for name, keys in zip(("induction", "duplicate"), naive_pairs(text.tolist())):
            want, null = torch.zeros(12, 12), torch.zeros(12, 12)
            used = [q for q, ks in keys.items() if ks and len(ks) < q - 1]
            for q in used:
                others = [k for k in range(1, q) if k not in keys[q]]
                for k in keys[q]:
                    want[start + q, start + k] = 1 / len(used)
                for k in others:
                    null[start + q, start + k] = len(keys[q]) / len(others) / len(used)
            torch.testing.assert_close(weights[name].score[row], want)
            torch.testing.assert_close(weights[name].nulls[0, row], null)
            assert weights[name].n_queries[row] == len(used)


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_previous_token_and_its_nulls_read_the_same_queries(ragged, side):
    tokens, mask, texts = ragged(side)
    weights = text_weights(tokens, mask)["previous"]
    for row, text in enumerate(texts):
        start, first = int(mask[row].int().argmax()), min(6, len(text) - 1)
        queries = range(first, len(text)) if len(text) >= 4 else []
        for back, found in zip((1, 2, 3, 4, 5), [weights.score, *weights.nulls]):
            want = torch.zeros(12, 12)
            for q in queries if back < first else []:
                want[start + q, start + q - back] = 1 / len(queries)
            torch.testing.assert_close(found[row], want)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_nothing(model, ragged, side):
    tokens, mask, texts = ragged(side)
    found = text_scores(model, tokens, mask)
    alone = [text_scores(model, text[None], full(text[None])) for text in texts]
    for name, score in found.scores.items():
        used = [one[name] for one in alone if name in one.scores]
        want = torch.cat([one.per_sequence for one in used])
        torch.testing.assert_close(score.per_sequence, want, atol=1e-5, rtol=0)
        assert score.n_queries == sum(one.n_queries for one in used)
        assert score.uniform == pytest.approx(sum(one.uniform for one in used) / len(used), abs=1e-5)
        if score.null_mean is not None:
            want_null = torch.stack([one.null_mean for one in used]).mean(0)
            torch.testing.assert_close(score.null_mean, want_null, atol=1e-5, rtol=0)


def test_what_cannot_be_computed_says_why(grouped):
    tokens = torch.tensor([[0, 5, 6]])
    found = text_scores(grouped, tokens, full(tokens))
    assert found.missing == {
        "induction": "not computed because no token repeats",
        "duplicate": "not computed because no token repeats",
        "previous": "not computed because no text has four tokens",
    }
    with pytest.raises(KeyError, match="no token repeats"):
        found["induction"]
    assert set(text_scores(grouped, tokens[:, :1], full(tokens[:, :1])).scores) == set()


def test_several_earlier_occurrences_are_added(grouped):
    tokens = torch.tensor([[0, 5, 6, 5, 7, 5]])
    weights = text_weights(tokens, full(tokens))
    assert weights["induction"].score[0, 5].tolist() == [0, 0, 0.5, 0, 0.5, 0]
    assert weights["duplicate"].score[0, 5].tolist() == [0, 0.5, 0, 0.5, 0, 0]
    assert weights["induction"].score[0, 3].tolist() == [0, 0, 0.5, 0, 0, 0]


def test_masks_that_make_no_sense_are_refused(grouped):
    with pytest.raises(ValueError, match="wanted that of tokens"):
        text_scores(grouped, torch.zeros(1, 4, dtype=torch.long), torch.ones(1, 3, dtype=torch.bool))
    with pytest.raises(ValueError, match="stand together"):
        text_scores(grouped, torch.zeros(1, 3, dtype=torch.long), torch.tensor([[True, False, True]]))
