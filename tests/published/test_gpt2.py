"""Figures of GPT-2 small that others have published, on the real weights: float32, default processing."""

import pytest
import torch

from lens.compat.transformer import HookedTransformer
from tests.published import figures

pytestmark = pytest.mark.hub

IOI = "After John and Mary went to the store, {} gave a bottle of milk to"
SHOPS = "Claire and Mary went to the shops, then Mary gave a bottle of milk to"
ABSTRACT = (
    "Natural language processing tasks, such as question answering, machine translation, reading comprehension, and "
    "summarization, are typically approached with supervised learning on taskspecific datasets."
)
CAT = "The cat sat on the mat"


@pytest.fixture(scope="module")
def gpt2():
    return HookedTransformer.from_pretrained("gpt2")


def close(value, digits):
    """As published, give or take one in the last digit."""
    return pytest.approx(value, abs=1.01 * 10**-digits)


class TestTokens:
    @pytest.mark.parametrize(
        ("text", "pieces"),
        [
            ("2342+2017=21445", ["23", "42", "+", "2017", "=", "214", "45"]),
            ("1000+1000000=999999", ["1000", "+", "1", "000000", "=", "9999", "99"]),
            (" Claire", [" Claire"]),
            ("Claire", ["Cl", "aire"]),
            ("gpt2", ["g", "pt", "2"]),
        ],
    )
    def test_how_a_text_is_cut(self, gpt2, text, pieces):
        assert gpt2.to_str_tokens(text) == ["<|endoftext|>", *pieces]

    def test_ids(self, gpt2):
        assert gpt2.to_tokens("gpt2").tolist() == [[50256, 70, 457, 17]]
        assert gpt2.to_string([256]) == " t"

    def test_where_a_token_stands(self, gpt2):
        twice = f"{CAT}. The mat sat on the cat."
        assert gpt2.get_token_position(" cat", CAT) == 2
        assert gpt2.get_token_position(" cat", CAT, prepend_bos=False) == 1
        assert gpt2.get_token_position(" cat", twice, mode="first") == 2
        assert gpt2.get_token_position(" cat", twice, mode="last") == 13

    def test_padding_on_the_right(self, gpt2):
        tokens = gpt2.to_tokens([f"{CAT}.", f"{CAT} really hard."])
        assert tokens.shape == (2, 10)
        assert tokens[0, -1] == 50256
        assert tokens[1, -1] != 50256


class TestPredictions:
    def test_the_next_sentence(self, gpt2):
        assert figures.probability(gpt2, f"{CAT}.", " The") == close(0.1198, 4)

    def test_who_gets_the_milk(self, gpt2):
        assert figures.difference(gpt2, IOI.format("Mary"), " John", " Mary") == close(4.276, 3)

    def test_and_if_the_other_gives_it(self, gpt2):
        assert figures.difference(gpt2, IOI.format("John"), " John", " Mary") == close(-2.738, 3)

    def test_with_and_without_bos(self, gpt2):
        assert figures.difference(gpt2, SHOPS, " Claire", " Mary", prepend_bos=True) == close(6.754, 3)
        assert figures.difference(gpt2, SHOPS, " Claire", " Mary", prepend_bos=False) == close(2.782, 3)

    @pytest.mark.parametrize(
        ("prompt", "answer", "percent"),
        [
            ("Mary is a great friend, isn’t", " she", 82.67),
            ("Mary is a great friend, isn’t", " it", 5.45),
            ("Mary is a great friend, isn’t", " he", 1.68),
            ("John is a great friend, isn’t", " he", 83.43),
            ("Matrix is a great movie, isn’t", " it", 94.84),
        ],
    )
    def test_question_tags(self, gpt2, prompt, answer, percent):
        assert 100 * figures.probability(gpt2, prompt, answer) == close(percent, 2)

    def test_pronouns_of_five_names_in_five_frames(self, gpt2):
        found = figures.pronoun_differences(gpt2)
        assert len(found) == 25
        assert sum(found.values()) / 25 == close(3.9134, 3)
        assert found["Mary", "a great friend"] == close(3.898, 3)
        assert found["John", "a great friend"] == close(4.854, 3)


class TestInterventions:
    def test_the_abstract(self, gpt2):
        assert gpt2.to_tokens(ABSTRACT).shape == (1, 33)
        assert gpt2(ABSTRACT, return_type="loss").item() == close(3.999, 3)

    def test_the_abstract_without_the_values_of_head_0_8(self, gpt2):
        assert figures.loss_without_values(gpt2, ABSTRACT, 0, 8) == close(4.117, 3)

    def test_the_answer_moves_from_the_second_name_to_the_end_in_layers_7_and_8(self, gpt2):
        found = figures.recovered(gpt2, IOI.format("Mary"), IOI.format("John"), " John", " Mary")
        words = gpt2.to_str_tokens(IOI.format("Mary"))
        second = len(words) - 1 - words[::-1].index(" Mary")
        rest = [pos for pos in range(len(words) - 1) if pos != second]
        assert found[0, second].item() == pytest.approx(1, abs=1e-3)
        assert (found[:6, second] > 0.8).all()
        assert (found[:7, -1].abs() < 0.2).all()
        assert found[9, -1] > 0.7
        assert found[9, second].abs() < 0.3
        crossing = (found[:, -1] > found[:, second]).nonzero()[0].item()
        assert crossing in (7, 8, 9)  # row l is the stream before layer l
        assert found[:, rest].abs().max() < 0.5


class TestWeights:
    def test_the_learned_unigram_bias(self, gpt2):
        order = gpt2.b_U.argsort(descending=True)
        top = [(gpt2.to_string([token]), gpt2.b_U[token].item()) for token in order[:5].tolist()]
        assert [word for word, _ in top] == [",", " the", " and", ".", "\n"]
        assert [value for _, value in top] == [close(value, 2) for value in (7.03, 6.98, 6.68, 6.49, 6.48)]
        assert gpt2.b_U.min().item() == close(-3.84, 2)

    @pytest.mark.parametrize(
        ("first", "second", "values", "ratio"),
        [(" John", " Mary", (2.8995, 1.6034), 3.655), (" he", " she", (4.5582, 3.6625), 2.449)],
    )
    def test_unigram_ratio_of_two_words(self, gpt2, first, second, values, ratio):
        a, b = (gpt2.b_U[gpt2.to_single_token(word)] for word in (first, second))
        assert [a.item(), b.item()] == [close(value, 3) for value in values]
        assert (a - b).exp().item() == close(ratio, 2)

    def test_eigenvalues_of_every_head(self, gpt2):
        values = gpt2.OV.eigenvalues
        assert (values.shape, values.dtype) == ((12, 12, 64), torch.complex64)

    def test_head_11_11_copies_and_the_two_scores_agree(self, gpt2):
        alone, full = figures.copying(gpt2)
        assert alone[11, 11] > 0.5
        assert torch.corrcoef(torch.stack([alone.flatten(), full.flatten()]))[0, 1] > 0.5


class TestInduction:
    def test_head_5_5_is_the_strongest_and_the_second_copy_is_easy(self, gpt2):
        scores, first, second = figures.repeated(gpt2)
        best = scores.flatten().sort(descending=True)
        assert divmod(best.indices[0].item(), 12) == (5, 5)
        assert best.values[0] > best.values[1] + 0.02
        assert first > 10
        assert second < first / 3
