"""Addresses: what is written reads back, and what a stranger writes never breaks the page."""

import random
from urllib.parse import parse_qsl, urlsplit

import pytest

from lens.ui.fields import (
    DEFAULT_MODEL,
    BadValue,
    address,
    choice,
    common_fields,
    flag,
    heads,
    integer,
    number,
    parse,
    write,
)
from lens.ui.limits import AT_HOME, HOSTED

FIELDS = (*common_fields(AT_HOME), number("threshold", 0.5, -1e9, 1e9), flag("folded", True), choice("by", "a", "abc"))
CHARS = "aZ 9&=?#%+/\\<>\"'\n\t\x00é漢😀\u202e"


def random_values(rng: random.Random) -> dict:
    word = "".join(rng.choices("abcXYZ019", k=rng.randint(1, 12)))
    return {
        "model": rng.choice([DEFAULT_MODEL, word, f"{word}/{word}-1.b", f"local:{word}.gguf"]),
        "revision": rng.choice(["", "main", "step1000", "refs/pr/1"]),
        "prompt": "".join(rng.choices(CHARS, k=rng.randint(0, 60))),
        "bos": rng.choice(["auto", "on", "off"]),
        "layer": rng.randint(0, 9999),
        "head": rng.randint(0, 9999),
        "pins": tuple({(rng.randint(0, 99), rng.randint(0, 99)) for _ in range(rng.randint(0, 10))}),
        "query": rng.choice([None, 0, rng.randint(0, AT_HOME.prompt_tokens)]),
        "score": word,
        "n": rng.randint(2, AT_HOME.block_length),
        "seqs": rng.randint(1, AT_HOME.sequences),
        "seed": rng.randint(0, 2**31 - 1),
        "stage": rng.random() < 0.5,
        "threshold": rng.choice([0.5, 0.0, -1.5, rng.uniform(-1e9, 1e9), rng.random() * 1e-9]),
        "folded": rng.random() < 0.5,
        "by": rng.choice("abc"),
        "with_model": rng.choice(["", word, f"{word}/{word}@step1000", f"local:{word}@checkpoints/tokens_1.bin"]),
        "tour": rng.choice(["", "why.1", "born.5"]),
        "with_prompt": "".join(rng.choices(CHARS, k=rng.randint(0, 60))),
        "workshop_pages": tuple(dict.fromkeys(rng.choices(["home", "attention", word], k=rng.randint(0, 5)))),
        "workshop_models": tuple(dict.fromkeys(rng.choices(["lens-2l", f"{word}/{word}"], k=rng.randint(0, 4)))),
    }


@pytest.mark.parametrize("seed", range(300))
def test_what_is_written_reads_back_through_a_real_address(seed):
    values = random_values(random.Random(seed))
    link = address("http://localhost:8501", "attention", write(FIELDS, values))
    query = dict(parse_qsl(urlsplit(link).query, keep_blank_values=True))
    assert parse(FIELDS, query) == (values, [])


def test_defaults_are_left_out():
    values, notes = parse(FIELDS, {})
    assert write(FIELDS, values) == {}
    assert notes == []
    assert address("http://x/", "", {}) == "http://x/"
    assert address("http://x", "head", {"layer": "3"}) == "http://x/head?layer=3"


@pytest.mark.parametrize("seed", range(300))
def test_no_text_of_a_stranger_raises(seed):
    rng = random.Random(seed)
    query = {field.name: "".join(rng.choices(CHARS + "0123456789.,-e", k=rng.randint(0, 30))) for field in FIELDS}
    values, _ = parse(FIELDS, query)
    assert parse(FIELDS, write(FIELDS, values)) == (values, [])


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("layer", "abc", "layer must be a whole number, not 'abc': showing layer '0'"),
        ("layer", "-1", "layer -1 is outside 0 to 9999: showing layer '0'"),
        ("bos", "maybe", "bos must be one of auto, on, off, not 'maybe': showing bos 'auto'"),
        ("query", "x", "query must be a whole number, not 'x': it is left out"),
        ("seqs", "100000", "seqs 100000 is outside 1 to 256: showing seqs '16'"),
        ("threshold", "nan", "threshold must be a number, not 'nan': showing threshold '0.5'"),
        ("threshold", "1e300", "threshold 1e300 is outside -1e+09 to 1e+09: showing threshold '0.5'"),
    ],
)
def test_a_bad_value_becomes_the_default_and_a_sentence(name, text, sentence):
    values, notes = parse(FIELDS, {name: text})
    assert values == parse(FIELDS, {})[0]
    assert notes == [sentence]


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../up",
        "~/model",
        "./here",
        "a/b/c",
        "C:\\m",
        "m.gguf",
        "a/..",
        "file:///x",
        "",
        "a b",
        ".git/config",
    ],
)
def test_a_path_is_never_a_model(path):
    values, notes = parse(FIELDS, {"model": path})
    assert values["model"] == DEFAULT_MODEL
    assert len(notes) == 1


def test_a_long_prompt_is_cut_and_said_so():
    longest = HOSTED.prompt_chars
    values, notes = parse(common_fields(HOSTED), {"prompt": "x" * (longest + 5)})
    assert values["prompt"] == "x" * longest
    assert notes == [f"only the first {longest:,} of {longest + 5:,} characters of the prompt are kept"]


def test_heads_keep_the_good_ones_in_order():
    field = heads("pins", 3)
    assert field.read(" 18.6, 17.3,18.6") == ((18, 6), (17, 3))
    with pytest.raises(BadValue, match="left out 'x'") as bad:
        field.read("1.2,x,3.4")
    assert bad.value.use == ((1, 2), (3, 4))
    with pytest.raises(BadValue, match="at most 3") as bad:
        field.read("1.1,1.2,1.3,1.4")
    assert bad.value.use == ((1, 1), (1, 2), (1, 3))


def test_hosted_limits_bound_the_address():
    assert parse(common_fields(HOSTED), {"seqs": str(HOSTED.sequences + 1)})[0]["seqs"] == 16


def test_integer_default_none_means_not_set():
    field = integer("query", None)
    assert parse([field], {})[0] == {"query": None}
    assert write([field], {"query": 0}) == {"query": "0"}
