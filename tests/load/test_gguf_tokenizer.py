"""The tokenizer of a GGUF reads texts as the tokenizer that the file was written from."""

import io

import gguf
import pytest
import sentencepiece
from transformers import GPT2Tokenizer, Qwen2Tokenizer

from lens import HookedTransformer
from lens.load import read
from lens.load.gguf import read_gguf
from lens.load.gguf_tokenizer import build
from tests.families.variants import GEMMA_SIZE, tiny
from tests.helpers import LLAMA_SIZE, SIZES, TEXT
from tests.load.gguf_files import add_byte_level, write
from tests.load.models import byte_vocabulary

TEXTS = [
    "When Mary and John went to the store",
    " a space in front",
    "  two, and   three   inside  ",
    "a line\n\nand\ttabs\n",
    "",
    "naïve — 世界 🙂 שלום",
    "def f(x):\n    return x + 1",
    "0123456789",
]


def trained(**how) -> sentencepiece.SentencePieceProcessor:
    """A small SentencePiece vocabulary with bytes for what it does not know, as those of Llama 2, Mistral and Gemma."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT.split(". ")),
        model_writer=model,
        model_type="bpe",
        vocab_size=400,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        minloglevel=9,
        **how,
    )
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def vocabulary(theirs: sentencepiece.SentencePieceProcessor, spaces: bool = False, **fields):
    """The vocabulary as llama.cpp's converter writes it; ``spaces``: runs of spaces as such, as in files of Gemma."""

    def kind(index):
        if theirs.is_unknown(index):
            return 2
        if theirs.is_control(index):
            return 3
        if theirs.is_byte(index):
            return 6
        return 4 if theirs.id_to_piece(index) in ("<table>", "\n\n") else 1

    def add(writer):
        pieces = [theirs.id_to_piece(index) for index in range(len(theirs))]
        if spaces:
            pieces = [
                piece.replace("▁", " ") if piece.strip("▁") == "" and len(piece) > 1 else piece for piece in pieces
            ]
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre("default")
        writer.add_token_list(pieces)
        writer.add_token_scores([theirs.get_score(index) for index in range(len(theirs))])
        writer.add_token_types([kind(index) for index in range(len(theirs))])
        writer.add_bos_token_id(theirs.bos_id())
        writer.add_eos_token_id(theirs.eos_id())
        writer.add_unk_token_id(theirs.unk_id())
        for name, value in fields.items():
            writer.add_bool(f"tokenizer.ggml.{name}", value)

    return add


def file_with(tmp_path, add, n_tokens, architecture="llama"):
    kind, size = {"llama": ("Llama", LLAMA_SIZE), "gpt2": ("GPT2", SIZES["gpt2"]), "gemma": ("Gemma", GEMMA_SIZE)}[
        architecture
    ]
    hf = tiny(kind, {**size, "vocab_size": n_tokens})()
    return write(tmp_path / f"{architecture}.gguf", hf, architecture, vocabulary=add)


def test_sentence_piece_reads_as_sentencepiece_itself(tmp_path):
    theirs = trained()
    path = file_with(tmp_path, vocabulary(theirs), len(theirs))
    tokenizer = read(str(path)).tokenizer
    for text in TEXTS:
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert ids == theirs.encode(text)
        assert tokenizer.decode(ids) == text
    assert tokenizer("a").input_ids[0] == theirs.bos_id()
    assert "which it puts before a text itself" in read(str(path)).bos.reason


def test_sentence_piece_of_gemma(tmp_path):
    """No space in front, runs of spaces written as such, symbols of its own that are never cut."""
    theirs = trained(add_dummy_prefix=False, user_defined_symbols=["<table>", "\n\n", "▁▁", "▁▁▁", "▁▁▁▁"])
    path = file_with(tmp_path, vocabulary(theirs, spaces=True), len(theirs), "gemma")
    tokenizer = read(str(path)).tokenizer
    for text in [*TEXTS, "a <table> b", "<table>\n\n"]:
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert [tokenizer.convert_ids_to_tokens(i) for i in ids] == theirs.encode(text, out_type=str)
        assert tokenizer.decode(ids) == text


@pytest.mark.parametrize("fields", [{"add_space_prefix": False}, {"add_bos_token": False}], ids=str)
def test_what_a_file_says_of_the_beginning_of_a_text(tmp_path, fields):
    theirs = trained(add_dummy_prefix=fields.get("add_space_prefix", True))
    tokenizer = build(read_gguf(file_with(tmp_path, vocabulary(theirs, **fields), len(theirs))))
    for text in TEXTS:
        assert tokenizer.encode(text, add_special_tokens=False).ids == theirs.encode(text)
    assert (tokenizer.encode("a").ids[:1] == [theirs.bos_id()]) == fields.get("add_bos_token", True)


def test_a_sentence_piece_that_would_be_read_otherwise_is_named(tmp_path):
    theirs = trained()
    path = file_with(tmp_path, vocabulary(theirs, remove_extra_whitespaces=True), len(theirs))
    with pytest.raises(ValueError, match="remove_extra_whitespaces"):
        read(str(path))


def test_a_model_with_such_a_vocabulary_reads_and_writes(tmp_path):
    theirs = trained()
    model = HookedTransformer.from_pretrained(str(file_with(tmp_path, vocabulary(theirs), len(theirs))))
    tokens = model.to_tokens("When Mary")
    assert tokens[0].tolist() == [theirs.bos_id(), *theirs.encode("When Mary")]
    assert model.run_with_cache(tokens)[0].shape == (1, len(tokens[0]), len(theirs))


def pieces_before_merges(path, text):
    return [piece for piece, _ in build(read_gguf(path)).pre_tokenizer.pre_tokenize_str(text)]


BY_HAND = {  # how each pre-tokenizer cuts "12345", "IT'S", ").\n y" and "HelloWorld"
    "gpt-2": (["12345"], ["IT", "'", "S"], [").", "Ċ", "Ġy"], ["HelloWorld"]),
    "smollm": (["1", "2", "3", "4", "5"], ["IT", "'", "S"], [").", "Ċ", "Ġy"], ["HelloWorld"]),
    "llama-bpe": (["123", "45"], ["IT", "'S"], [").Ċ", "Ġy"], ["HelloWorld"]),
    "dbrx": (["123", "45"], ["IT", "'S"], [").Ċ", "Ġy"], ["HelloWorld"]),
    "qwen2": (["1", "2", "3", "4", "5"], ["IT", "'S"], [").Ċ", "Ġy"], ["HelloWorld"]),
    "tekken": (["1", "2", "3", "4", "5"], ["IT", "'S"], [").Ċ", "Ġy"], ["Hello", "World"]),
}


@pytest.mark.parametrize("pre", BY_HAND)
def test_how_a_text_is_cut(tmp_path, pre):
    path = file_with(tmp_path, lambda writer: add_byte_level(writer, pre), 263)
    texts = ("12345", "IT'S", ").\n y", "HelloWorld")
    assert tuple(pieces_before_merges(path, text) for text in texts) == BY_HAND[pre]


@pytest.mark.parametrize(("pre", "cls"), [("gpt-2", GPT2Tokenizer), ("qwen2", Qwen2Tokenizer)])
def test_ids_are_those_of_the_tokenizer_class(tmp_path, pre, cls):
    tokens, merges = byte_vocabulary()
    theirs = cls(
        vocab={token: index for index, token in enumerate(tokens)}, merges=[tuple(one.split(" ")) for one in merges]
    )
    tokenizer = build(read_gguf(file_with(tmp_path, lambda writer: add_byte_level(writer, pre), 263)))
    for text in [*TEXTS, "cafe\u0301", "the the THE 12 1 2"]:
        assert tokenizer.encode(text).ids == theirs.encode(text, add_special_tokens=False)


def test_a_piece_that_is_a_token_is_taken_whole_by_llama_3(tmp_path):
    """ "tha" is a token that no merge makes: Llama 3 finds it, GPT-2 does not."""

    def add(writer, pre):
        add_byte_level(writer, pre)
        tokens, _ = byte_vocabulary()
        writer.kv_data[0].pop("tokenizer.ggml.tokens")
        writer.kv_data[0].pop("tokenizer.ggml.token_type")
        writer.add_token_list([*tokens, "tha"])
        writer.add_token_types([*[1] * len(tokens), 1])

    for pre, pieces in (("llama-bpe", ["tha"]), ("gpt-2", ["th", "a"])):
        path = file_with(tmp_path, lambda writer, pre=pre: add(writer, pre), 264)
        assert build(read_gguf(path)).encode("tha", add_special_tokens=False).tokens == pieces


def test_who_puts_bos_before_a_text(tmp_path):
    """Llama 3 does if the file is silent, GPT-2 does not; and a file that speaks is believed."""

    def habit(pre, said):
        def add(writer):
            add_byte_level(writer, pre)
            if said is not None:
                writer.add_add_bos_token(said)

        return build(read_gguf(file_with(tmp_path, add, 263))).encode("a").tokens[0] == "<|start|>"

    assert [habit("llama-bpe", said) for said in (None, True, False)] == [True, True, False]
    assert [habit("gpt-2", said) for said in (None, True, False)] == [False, True, False]


@pytest.mark.parametrize(("architecture", "pre", "built"), [("gpt2", None, True), ("llama", "default", False)])
def test_a_file_that_does_not_say_how_its_texts_are_cut(tmp_path, architecture, pre, built):
    """Older files of GPT-2 do not, and there is one way to cut for it; of a llama there are several."""
    path = file_with(tmp_path, lambda writer: add_byte_level(writer, pre), 263, architecture)
    if built:
        assert pieces_before_merges(path, "12345 x") == ["12345", "Ġx"]
        return
    with pytest.raises(ValueError, match=r"pre-tokenizer 'default'; Lens builds 'command-r'"):
        read(str(path))


def test_other_kinds_are_named(tmp_path):
    def add(writer):
        add_byte_level(writer)
        writer.kv_data[0]["tokenizer.ggml.model"] = gguf.GGUFValue("t5", gguf.GGUFValueType.STRING)

    with pytest.raises(ValueError, match=r"kind 't5'; Lens builds 'gpt2' \(byte-level BPE\) and 'llama'"):
        read(str(file_with(tmp_path, add, 263)))


def test_a_text_ends_at_the_end_of_a_turn_too(tmp_path):
    """Chat models name the end of a text and the end of a turn; a copy that names one needs no file for it."""

    def ends(**more):
        def add(writer):
            add_byte_level(writer)
            for field, token in more.items():
                getattr(writer, f"add_{field}_token_id")(token)

        return HookedTransformer.from_pretrained(str(file_with(tmp_path, add, 263))).end_ids

    assert ends() == ends(eot=0) == (0,)
    assert ends(eot=2, eom=5) == (0, 2, 5)
