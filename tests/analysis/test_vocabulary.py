import numpy as np
import pytest

from lens.analysis.vocabulary import containing, cut, largest_first, names_of, spellings, vocabulary
from tests.analysis.shaken import make_model


@pytest.mark.parametrize("text", [" Claire", "Claire", "2342+2017=21445", "naïve 猫", ""])
def test_a_cut_text_is_its_tokens(with_tokenizer, text):
    found = cut(with_tokenizer, text)
    assert with_tokenizer.to_string(found.ids) == text
    assert len(found.pieces) == len(found.ids)


def test_spellings_differ_by_the_leading_space_only(with_tokenizer):
    assert [found.text for found in spellings(with_tokenizer, "Mary")] == ["Mary", " Mary"]
    assert [found.text for found in spellings(with_tokenizer, " Mary")] == [" Mary", "Mary"]
    assert [found.text for found in spellings(with_tokenizer, " ")] == [" "]


def test_the_vocabulary_has_every_id(with_tokenizer):
    strings = vocabulary(with_tokenizer)
    assert len(strings) == len(with_tokenizer.tokenizer)
    assert strings[0] == "<bos>"
    for i in (1, 40, 300, len(strings) - 1):
        assert strings[i] == with_tokenizer.to_single_str_token(i)
    assert not any("\ufffd" in string for string in strings)
    assert sorted(strings)[-64:] == [f"⟨{byte:02x}⟩" for byte in range(0xC0, 0x100)]


def test_containing_finds_text_not_patterns():
    strings = [" the", "the", "The", "a.b", "axb", "other"]
    assert containing(strings, "the") == [1, 0, 5]
    assert containing(strings, "THE", same_case=False) == [1, 2, 0, 5]
    assert containing(strings, "a.b") == [3]
    assert containing(strings, "zz") == []


def test_a_model_without_tokenizer_says_so():
    for verb in (lambda m: cut(m, "a"), vocabulary):
        with pytest.raises(ValueError, match="shaken has no tokenizer"):
            verb(make_model())


def test_names_and_sums_of_smollm2(smollm2):
    assert cut(smollm2, " Claire").pieces == [" Claire"]
    assert cut(smollm2, "Claire").pieces == ["Cl", "aire"]
    assert cut(smollm2, "2342+2017=21445").pieces == list("2342+2017=21445")


def test_ids_without_a_text_are_named_by_their_number():
    assert names_of(["a", " b"], [1, 0, 7]) == ["·b", "a", "id 7"]
    assert names_of((), [3]) == ["id 3"]


def test_ids_by_their_number_and_equal_ones_by_id():
    assert largest_first(np.array([0.5, 2.0, -1.0, 2.0])).tolist() == [1, 3, 0, 2]
