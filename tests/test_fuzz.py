"""What strangers send: prompts, addresses, numbers, pairs, decks, model folders, GGUF files. Each is read, or refused
in a sentence of Lens; nothing is run, nothing outside is opened, nothing takes long or much memory.

Every fault found here stands below with its right value, as a test of its own.
"""

import io
import json
import pickle
import random
import resource
import shutil
import signal
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from lens import HookedTransformer
from lens.analysis.answer.pasted import read_vector, read_vector_file
from lens.analysis.interventions.tasks.own import parse_pairs
from lens.config import MOST_LAYERS, Config
from lens.decks import read_deck, write_deck
from lens.load.gguf import read_gguf
from lens.load.gguf_model import hf_config, hf_tensors
from lens.load.gguf_tokenizer import tokenizer_files
from lens.ui.fields import address, common_fields, parse, write
from lens.ui.frame import _expected
from lens.ui.labels import token_labels
from lens.ui.limits import AT_HOME, HOSTED
from lens.ui.menu import MENU
from lens.ui.models import model_problem
from lens.untrusted import damage, parse_json, whole_characters
from tests.helpers import hf_llama
from tests.load.models import byte_vocabulary, save, write_gguf
from tests.ui.conftest import app_page, fine

PATIENCE = 5.0  # seconds of one input
ROOM = 300_000  # kilobytes that all inputs of one test may add to the largest size of this process
PAGES = {page.path for page in MENU} - {"deck"}
UNICODE = (
    *(
        "\ud800",
        "\udfff\udc00",
        "\u202e\u2066",
        "\u200b\u200d\ufeff",
        "e\u0301\u0327",
        "\x00\x1b[31m",
        "\ufffe",
        "\U0010ffff",
    ),
    *(
        "👩‍👩‍👧‍👦🏳️‍🌈",
        "𝔘ﷺ",
        "\u2028\r\n",
        "<script>alert(1)</script>",
        "${x}%s{0}",
        "<|endoftext|>",
        "a" * 10_000,
        "x y " * 2500,
    ),
)
TEXT = st.lists(st.sampled_from(UNICODE) | st.text(st.characters(), max_size=8), max_size=6).map("".join)
DEEP = (
    "[" * 100_000,
    '{"a":' * 50_000,
    "9" * 5000,
    '{"title": ' + "1" * 5000 + "}",
    "NaN",
    "\ufeff{}",
    '"\\ud800"',
    "",
)
LEAF = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
ODD = (
    None,
    True,
    0,
    -1,
    3,
    10**9,
    10**30,
    1.5,
    float("nan"),
    "",
    "../../etc/passwd",
    [],
    [[1]],
    {},
    {"a": 1},
    "\ud800",
)
QUICK = {"deadline": None, "derandomize": True, "database": None, "phases": [Phase.generate, Phase.shrink]}


def fuzz(examples: int, **inputs: st.SearchStrategy) -> Callable:
    """A test of so many inputs, the same in every run."""
    checks = [
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.function_scoped_fixture,
        HealthCheck.large_base_example,
    ]
    return lambda test: settings(max_examples=examples, suppress_health_check=checks, **QUICK)(given(**inputs)(test))


class TookTooLong(BaseException):
    """Of no kind that anything catches."""


@contextmanager
def harmless() -> Iterator[None]:
    """What is done in this block ends in time, well or with an error that a page shows as a sentence."""

    def stop(*_: Any) -> None:
        raise TookTooLong

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        yield
    except (ValueError, KeyError, OSError) as error:
        if not _expected(error):
            raise
        str(error).encode()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture
def bounded():
    """The test leaves this process about as large as it was."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < ROOM


@pytest.fixture(scope="module")
def lens_2l() -> HookedTransformer:
    return HookedTransformer.from_pretrained("lens-2l")


@fuzz(60, text=TEXT)
def test_prompts(lens_2l, text):
    with harmless():
        labels = token_labels(lens_2l, lens_2l.to_tokens(text, longest=64)[0])
        assert "".join(labels).encode()
        assert not any(label.isspace() or "\x00" in label for label in labels)


def address_of(page: int, name: int, hosted: bool, text: str) -> None:
    fields = (*common_fields(HOSTED if hosted else AT_HOME), *MENU[page].options)
    field = fields[name % len(fields)]
    values, notes = parse(fields, {field.name: text})
    query = write(fields, values)
    assert parse(fields, query) == (values, [])
    assert address("http://localhost", MENU[page].path, query).encode("ascii")
    assert all(len(note) < 400 for note in notes)
    model_problem(values["model"])


VALUES = (
    TEXT
    | st.text("0123456789.-+e,_@:/ aL", max_size=24)
    | st.sampled_from(["1e400", "9" * 400, "١٢", "..", "local:/etc"])
)


@fuzz(200, page=st.integers(0, len(MENU) - 1), name=st.integers(0, 40), hosted=st.booleans(), text=VALUES)
def test_addresses(page, name, hosted, text):
    address_of(page, name, hosted, text)


def test_whole_pages_of_odd_prompts():
    odd = "".join(UNICODE[3:14])
    for page in ("attention", "predictions"):
        drawn = fine(app_page(page, prompt=odd, query="3", pins="0.1,\u202e").run())
        assert "<script>alert" not in drawn


def npy(values: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


@st.composite
def damaged(draw: st.DrawFn, whole: tuple[bytes, ...], within: int = 200) -> bytes:
    """One of these files with some bytes changed, perhaps cut off."""
    data = bytearray(draw(st.sampled_from(whole)))
    for _ in range(draw(st.integers(0, 6))):
        data[draw(st.integers(0, min(len(data), within) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)


KINDS = ("f4", "i8", "f2", "c8", "?")
ARRAYS = (*(npy(np.ones(4, kind)) for kind in KINDS), npy(np.array(["a"], object)))
NUMBERS = (
    TEXT | st.text("0123456789.-+e, \n[]();naif", max_size=40) | st.lists(st.floats(), min_size=4, max_size=4).map(str)
)


@fuzz(60, text=NUMBERS, data=damaged(ARRAYS) | st.binary(max_size=60), name=st.sampled_from(["a.npy", "a.csv"]))
def test_pasted_and_uploaded_directions(text, data, name):
    with harmless():
        assert np.isfinite(read_vector(text, 4)).all()
    with harmless():
        assert np.isfinite(read_vector_file(name, data, 4)).all()


LINKS = st.sampled_from(["tokens", "tokens?a=%ff", "//x", "http://[", "tokens?[", "//[", "tokens;x"]) | TEXT
SLIDES = st.lists(st.fixed_dictionaries({}, optional={"link": LINKS | LEAF, "title": LEAF, "note": LEAF}), max_size=3)
DECKS = st.fixed_dictionaries({}, optional={"title": LEAF, "slides": SLIDES | LEAF}).map(json.dumps)
SIDES = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("clean", "corrupted", "answer", "wrong"), LEAF | st.lists(LEAF))
)


@fuzz(80, text=DECKS | TEXT | st.sampled_from(DEEP))
def test_decks(text):
    with harmless():
        deck = read_deck(text, PAGES)
        assert read_deck(write_deck(deck), PAGES) == deck
        assert all(slide.page in PAGES and repr(slide.query).encode() for slide in deck.slides)


@fuzz(80, text=SIDES.map(json.dumps) | st.lists(TEXT, max_size=4).map("|".join) | st.sampled_from(DEEP))
def test_pasted_pairs(text):
    with harmless():
        assert all("".join((pair.clean, pair.corrupted, *pair.answers)).encode() for pair in parse_pairs(text))


class Folder:
    """A whole model folder, and copies of it with some files replaced."""

    def __init__(self, whole: Path, copy: Path) -> None:
        self.files = {path.name: path.read_bytes() for path in whole.iterdir()}
        self.copy = copy

    def json(self, name: str) -> dict[str, Any]:
        return json.loads(self.files[name])

    def open(self, **changes: Any) -> None:
        """Open a copy, read and write with it. ``changes``: bytes, or a value to write as JSON; None: left out."""
        shutil.rmtree(self.copy, ignore_errors=True)
        self.copy.mkdir()
        for name, data in (self.files | changes).items():
            if data is not None:
                (self.copy / name).write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())
        with harmless():
            model = HookedTransformer.from_pretrained(str(self.copy))
            model.generate("a b", max_new_tokens=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tokenizer) -> Folder:
    root = tmp_path_factory.mktemp("models")
    return Folder(
        save(hf_llama(vocab_size=len(tokenizer), num_hidden_layers=1), root / "whole", tokenizer), root / "copy"
    )


def header_of(data: bytes) -> tuple[dict[str, Any], bytes]:
    size = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def test_configs_of_odd_values(folder, bounded):
    config = folder.json("config.json")
    names = [*config, "rope_scaling", "sliding_window", "layer_types", "text_config", "quantization_config"]
    drawn = random.Random(0)
    for name in names:
        for value in drawn.sample(ODD, 2):
            folder.open(**{"config.json": config | {name: value}})
    for text in DEEP:
        folder.open(**{"config.json": text.encode("utf-8", "surrogatepass")})


def test_tokenizer_files_of_odd_values(folder):
    drawn = random.Random(0)
    for file in ("tokenizer_config.json", "generation_config.json"):
        known = folder.json(file)
        for name in (*known, "bos_token", "additional_special_tokens", "chat_template", "eos_token_id"):
            for value in drawn.sample(ODD, 1):
                folder.open(**{file: known | {name: value}})
    whole = folder.json("tokenizer.json")
    for name in whole:
        folder.open(**{"tokenizer.json": whole | {name: drawn.choice(ODD)}})
    for name, value in whole["model"].items():
        folder.open(**{"tokenizer.json": whole | {"model": whole["model"] | {name: drawn.choice(ODD)}}})
        folder.open(
            **{
                "tokenizer.json": whole
                | {"model": {**whole["model"], name: value, "continuing_subword_prefix": "a" * 99}}
            }
        )
    for text in DEEP[:4]:
        folder.open(**{"tokenizer.json": text.encode()})


def test_weights_whose_headers_lie(folder, bounded):
    whole = folder.files["model.safetensors"]
    header, body = header_of(whole)
    lies = {"shape": ([], [10**12], [-1], "x"), "data_offsets": ([0, 10**15], [10, 0]), "dtype": ("I64", 3)}
    first = next(name for name in header if name != "__metadata__")
    for key, values in lies.items():
        for value in values:
            text = json.dumps(header | {first: header[first] | {key: value}}).encode()
            folder.open(**{"model.safetensors": struct.pack("<Q", len(text)) + text + body})
    for size in (0, 1, 2**63, 2**64 - 1, 10**8):
        folder.open(**{"model.safetensors": struct.pack("<Q", size) + whole[8:]})


@pytest.mark.parametrize("place", ["../whole/model.safetensors", "/etc/hostname", "..", "x/y.safetensors", 3, None])
def test_an_index_leads_nowhere_outside(folder, place):
    index = {"weight_map": dict.fromkeys(header_of(folder.files["model.safetensors"])[0], place)}
    changes = {"model.safetensors": None, "model.safetensors.index.json": index}
    folder.open(**changes)
    with pytest.raises(ValueError, match="must lie beside it"):
        HookedTransformer.from_pretrained(str(folder.copy))


def test_pickles_are_never_run_whatever_they_hold(folder, tmp_path):
    ran = tmp_path / "ran"
    state, stream = {"a": torch.zeros(2)}, io.BytesIO()
    torch.save(state, stream)
    evil = io.BytesIO()
    torch.save({"a": Evil(ran)}, evil)
    drawn, files = (
        random.Random(0),
        [evil.getvalue(), pickle.dumps(Evil(ran)), pickle.dumps({"a": Evil(ran)}), b"\x80\x02.", b""],
    )
    for _ in range(40):
        data = bytearray(stream.getvalue())
        for _ in range(3):
            data[drawn.randrange(min(len(data), 400))] = drawn.randrange(256)
        files.append(bytes(data))
    for data in files:
        folder.open(**{"model.safetensors": None, "pytorch_model.bin": data})
    assert not ran.exists()


@pytest.fixture(scope="module")
def whole_gguf(tmp_path_factory) -> Path:
    model = hf_llama(vocab_size=len(byte_vocabulary()[0]), num_hidden_layers=1)
    return write_gguf(tmp_path_factory.mktemp("gguf") / "whole.gguf", model)


def read_all_of(path: Path) -> None:
    with harmless():
        file = read_gguf(path)
        config = hf_config(file)
        tokenizer_files(file)
        for _ in hf_tensors(file, config):
            pass


def test_gguf_files_with_changed_bytes(whole_gguf, tmp_path, bounded):
    whole, path, drawn = whole_gguf.read_bytes(), tmp_path / "damaged.gguf", random.Random(0)
    reader = gguf.GGUFReader(whole_gguf)
    starts = [int(field.offset) for field in reader.fields.values()]
    for _ in range(80):
        data = bytearray(whole)
        for _ in range(drawn.randint(1, 4)):  # lengths and types stand near the beginning of each field
            data[min(drawn.choice(starts) + drawn.randrange(48), len(data) - 1)] = drawn.choice((0, 1, 8, 9, 127, 255))
        path.write_bytes(bytes(data) if drawn.random() < 0.8 else bytes(data[: drawn.randrange(1, len(data))]))
        read_all_of(path)


def test_half_a_character_is_named_and_never_read(lens_2l):
    with pytest.raises(ValueError, match=r"character 2 is half of one \(U\+D800, a lone surrogate\)"):
        lens_2l.to_tokens("a\ud800")
    fields = common_fields(AT_HOME)
    values, (note,) = parse(fields, {"prompt": "a\ud800b"})
    assert values["prompt"] == whole_characters("a\ud800b") == "a\ufffdb"
    assert "character 2 is half of one" in note
    with pytest.raises(ValueError, match="Line 1: character 1 is half of one"):
        parse_pairs("\ud800|b|c")
    with pytest.raises(ValueError, match="holds half of a character"):
        read_deck('{"slides": [{"link": "tokens", "title": "\\ud800"}]}', PAGES)


@pytest.mark.parametrize(
    ("text", "why"), [("[" * 100_000, "too deeply"), ("9" * 5000, "digits"), ("{", "at character 2")]
)
def test_json_that_is_none(text, why):
    with pytest.raises(ValueError, match=why):
        parse_json(text)


def test_a_whole_pair_of_surrogates_is_a_character():
    assert parse_json('"\\ud83d\\ude00"') == "😀"


def test_a_link_that_is_no_address_is_refused_like_one_to_another_machine():
    with pytest.raises(ValueError, match="a link is a page of this app"):
        read_deck('{"slides": [{"link": "http://[", "title": "x"}]}', PAGES)


def test_a_header_of_numpy_that_never_closes():
    data = npy(np.ones(4)).replace(b"(4,)", b"(4, ")
    with pytest.raises(ValueError, match="the file is no NumPy array"):
        read_vector_file("a.npy", data, 4)


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("n_layers", MOST_LAYERS + 1, "at most 2,000"), ("d_model", True, "a whole number"), ("d_mlp", -1, "least 0"),
        ("d_head", 10**12, "a whole number"), ("norm_eps", float("nan"), "a finite number"), ("tied", [], "yes or no"),
        ("norm_eps", 10**30, "a finite number"), ("n_ctx", "8", "a whole number"),
    ],
)  # fmt: skip
def test_a_structure_of_the_wrong_kind_is_none(field, value, why):
    sizes = {"n_layers": 1, "n_heads": 1, "d_model": 2, "d_head": 2, "d_vocab": 3, "n_ctx": 4}
    with pytest.raises(ValueError, match=why):
        Config(**sizes | {field: value})


def test_a_billion_layers_are_refused_before_a_list_of_them_is_made(folder, bounded):
    config = folder.json("config.json") | {"num_hidden_layers": 10**9, "sliding_window": 4}
    folder.open(**{"config.json": config})
    with pytest.raises(ValueError, match="at most 2,000 layers"):
        HookedTransformer.from_pretrained(str(folder.copy))


def test_words_where_numbers_belong_are_said_to_be_that(folder):
    folder.open(**{"config.json": folder.json("config.json") | {"hidden_size": "large"}})
    with pytest.raises(ValueError, match="holds a value of the wrong kind"):
        HookedTransformer.from_pretrained(str(folder.copy))


def test_a_reader_that_panics_is_a_damaged_file():
    class Panic(BaseException):
        pass

    with (
        pytest.raises(ValueError, match=r"x is no tokenizer \(range end\)\. It is damaged\."),
        damage("x is no tokenizer", "It is damaged."),
    ):
        raise Panic("range end")
    with pytest.raises(KeyboardInterrupt), damage("x", "y"):
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("kind", "n", "why"), [(7, 2**60, "entries"), (9, 1, "a list holds lists"), (8, 2**20, "before its end")]
)
def test_a_list_of_a_gguf_is_as_long_as_the_file_can_hold(tmp_path, kind, n, why):
    path, name = tmp_path / "x.gguf", b"a.b"
    field = struct.pack("<Q", len(name)) + name + struct.pack("<IIQ", 9, kind, n)
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + field + b"\xff" * 64)
    with pytest.raises(ValueError, match=why):
        read_gguf(path)
