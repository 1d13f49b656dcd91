"""The tokenizer, the held-out text and the check for overlap."""

import csv
import hashlib
import json

import numpy as np
import pytest
from tokenizers import Tokenizer

from lens.load.entries import ASSETS, SHIPPED
from lens.texts import TEXTS, chapters, held_out
from lens.train.corpus import clean, drop_menus, sources
from lens.train.overlap import WINDOW, shared_windows, window_hashes, without_overlap
from lens.train.vocabulary import BOS, WHOLE, encode, train_tokenizer

PASSAGE = "It was the best of times, it was the worst of times, it was the age of wisdom."


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.from_file(str(SHIPPED / "lens-2l" / "tokenizer.json"))


class TestTokenizer:
    def test_names_pronouns_and_capitals_are_one_token_with_their_space(self, tokenizer):
        assert [word for word in WHOLE if len(tokenizer.encode(word).ids) != 1] == []
        assert {" John", " Mary", " he", " she", " it", " A", " Z"} <= set(WHOLE)

    def test_also_inside_a_sentence(self, tokenizer):
        tokens = [tokenizer.decode([i]) for i in tokenizer.encode("Then John and Mary met; she had 12.").ids]
        assert {" John", " Mary", " she", "1", "2"} <= set(tokens)

    def test_any_text_comes_back(self, tokenizer):
        for text in (held_out()[0][:5000], "naïve — 数学 🙂\t\x07\n\n  x", "def f(x):\n    return x[0]"):
            assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text

    def test_size_and_bos(self, tokenizer):
        assert tokenizer.get_vocab_size() == 1024
        assert tokenizer.token_to_id(BOS) == 0
        assert encode(tokenizer, ["a", "b"]).tolist()[::2] == [0, 0]

    def test_the_three_models_share_it(self):
        files = [(SHIPPED / f"lens-{n}l" / "tokenizer.json").read_bytes() for n in (1, 2, 3)]
        assert files[0] == files[1] == files[2]

    def test_it_is_trained_to_the_size_asked_for(self):
        tokenizer = train_tokenizer(["the cat sat on the mat. " * 50] * 8, 400, often=10)
        assert tokenizer.get_vocab_size() <= 400
        assert len(tokenizer.encode(" the").ids) == 1


class TestHeldOut:
    def test_71_chapters_of_about_a_million_characters(self):
        texts = held_out()
        assert len(texts) == 71
        assert all(text.lower().startswith("chapter ") for text in texts)
        assert 900_000 < sum(map(len, texts)) < 1_100_000

    def test_it_is_the_file_that_training_was_checked_against(self):
        about = json.loads((ASSETS / "corpus.json").read_text("utf-8"))
        assert hashlib.sha256((TEXTS / "held_out.txt").read_bytes()).hexdigest() == about["held_out_sha256"]
        assert about["shared_windows_of_50_characters"] == 0

    def test_a_fifth_of_the_training_text_is_code(self):
        about = json.loads((ASSETS / "corpus.json").read_text("utf-8"))
        assert 0.15 < about["code_share"] < 0.25
        assert sum(about["characters"].values()) > 30e6
        assert set(about["characters"]) == {one.name for one in sources() if one.kind != "held out"}

    def test_every_source_has_a_licence_and_stands_in_the_readme(self):
        readme = (ASSETS / "README.md").read_text("utf-8")
        with (ASSETS / "corpus.csv").open(encoding="utf-8", newline="") as table:
            for row in csv.DictReader(table):
                assert row["licence"]
                assert f"| {row['name']} | {row['package']} | {row['version']} | {row['licence']} |" in readme

    def test_chapters_begin_at_their_headings(self):
        book = "Title\n\nChapter 1\n\n" + "a" * 300 + "\n\nCHAPTER II. Name\n\n" + "b" * 300
        assert [text[:10] for text in chapters(book)] == ["Chapter 1\n", "CHAPTER II"]


class TestOverlap:
    def test_the_hashes_are_those_of_the_windows(self):
        text = "abc " * 40
        assert len(window_hashes(text)) == len(text.strip()) - WINDOW + 1
        assert len(np.unique(window_hashes(text))) == 4  # the text has a period of 4

    def test_a_shared_passage_is_found_wherever_it_stands_and_however_it_is_broken(self):
        other = "x" * 100
        assert shared_windows(other + PASSAGE.replace(" ", "\n") + other, PASSAGE) == len(PASSAGE) - WINDOW + 1
        assert shared_windows(other + PASSAGE[: WINDOW - 1] + other, PASSAGE) == 0

    def test_only_the_paragraph_that_quotes_is_dropped(self):
        kept, dropped = without_overlap([f"one\n\n{PASSAGE}\n\ntwo", "three"], PASSAGE)
        assert kept == ["one\n\ntwo", "three"]
        assert dropped == 1

    def test_a_quotation_over_an_empty_line_takes_the_document_with_it(self):
        broken = PASSAGE.replace("the worst", "the\n\nworst")  # neither half is as long as a window
        kept, _ = without_overlap([broken], PASSAGE)
        assert kept == [""]


class TestCleaning:
    def test_lines_and_spaces(self):
        assert clean("a \r\n\r\n\r\n\r\nb\tc\u00a0d\x00", unwrap=False) == "a\n\nb   c d"
        assert clean("a\nb\n\nc\nd", unwrap=True) == "a b\n\nc d"

    def test_menus_go_and_text_stays(self):
        menu = "Home | Documents | Download | Licence"
        texts = drop_menus([f"{menu}\npage {i} says something of its own" for i in range(30)])
        assert texts[3] == "page 3 says something of its own"
