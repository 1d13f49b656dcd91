"""A model that transformers saved is read back exactly, from every kind of file it writes."""

import json
import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file

from lens.load import read
from lens.load.files import is_complete, wanted
from tests.helpers import hf_gpt2, hf_llama
from tests.load.models import same_state, save

MODELS = {
    "gpt2": lambda: hf_gpt2(),
    "llama-grouped": lambda: hf_llama(num_key_value_heads=2),
    "llama-tied": lambda: hf_llama(tie_word_embeddings=True),
}


@pytest.fixture(params=MODELS)
def hf(request):
    return MODELS[request.param]()


def as_bin(folder, shards=1):
    """Turn the one safetensors file of a folder into ``shards`` pickles with an index."""
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    if shards == 1:
        torch.save(state, folder / "pytorch_model.bin")
        return
    where = {name: f"pytorch_model-{1 + i % shards:05}-of-{shards:05}.bin" for i, name in enumerate(state)}
    for shard in set(where.values()):
        torch.save({name: state[name] for name in state if where[name] == shard}, folder / shard)
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": where}))


def test_one_safetensors_file(hf, tmp_path):
    loaded = read(str(save(hf, tmp_path / "m")))
    same_state(loaded.state, hf)
    assert loaded.tokenizer is None
    assert loaded.bos.id is None
    assert (loaded.name, loaded.revision, loaded.note) == (str(tmp_path / "m"), None, "")


def test_sharded_safetensors(hf, tmp_path, stages):
    folder = save(hf, tmp_path / "m", max_shard_size="20KB")
    assert len(list(folder.glob("*.safetensors"))) > 2
    same_state(read(str(folder), progress=stages).state, hf)
    assert stages.fractions == sorted(stages.fractions)
    assert stages.fractions[-1] == 1


@pytest.mark.parametrize("shards", [1, 3])
def test_pickled_weights(hf, tmp_path, shards):
    folder = save(hf, tmp_path / "m")
    as_bin(folder, shards)
    same_state(read(str(folder)).state, hf)


def test_pickled_weights_of_an_old_torch(hf, tmp_path):
    folder = save(hf, tmp_path / "m")
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    same_state(read(str(folder)).state, hf)


def test_names_without_the_base_prefix(tmp_path):
    """GPT-2's file on the Hub has ``h.0...`` where freshly saved ones have ``transformer.h.0...``, and its masks."""
    hf = hf_gpt2()
    folder = save(hf, tmp_path / "m")
    state = {name.removeprefix("transformer."): t for name, t in load_file(folder / "model.safetensors").items()}
    state["h.0.attn.bias"] = torch.ones(1, 1, 64, 64, dtype=torch.uint8)
    save_file(state, folder / "model.safetensors")
    same_state(read(str(folder)).state, hf)


def test_bf16_weights_become_float32_unless_asked_otherwise(tmp_path):
    hf = hf_llama().to(torch.bfloat16)
    folder = str(save(hf, tmp_path / "m"))
    same_state(read(folder).state, hf.float())
    kept = read(folder, dtype="bfloat16").state
    assert {tensor.dtype for tensor in kept.values()} == {torch.bfloat16}
    assert {tensor.dtype for tensor in read(folder, dtype=torch.float64).state.values()} == {torch.float64}


def test_float32_weights_are_not_copied(tmp_path):
    """Writing into a loaded tensor must not reach the file, although the tensor is the mapped file."""
    hf = hf_llama()
    folder = save(hf, tmp_path / "m")
    read(str(folder)).state["ln_final.w"].zero_()
    same_state(read(str(folder)).state, hf)


def test_tokenizer_of_the_folder(tmp_path, tokenizer):
    loaded = read(str(save(hf_gpt2(vocab_size=len(tokenizer)), tmp_path / "m", tokenizer)))
    text = "The cat sat on the mat, isn't it?\n 12"
    assert loaded.tokenizer.encode(text) == tokenizer.encode(text)
    assert loaded.tokenizer.decode(tokenizer.encode(text)) == text
    assert loaded.tokenizer.eos_token == "<bos>"
    assert (loaded.bos.id, loaded.bos.token, loaded.bos.prepend) == (0, "<bos>", True)
    assert "does not put it there" in loaded.bos.reason


def test_start_token_that_only_the_config_knows(tmp_path, tokenizer):
    """GPT-2's own folder says in config.json alone that token 50256 begins a text."""
    folder = save(hf_gpt2(vocab_size=len(tokenizer), bos_token_id=0), tmp_path / "m", tokenizer)
    (folder / "tokenizer_config.json").unlink()
    (folder / "special_tokens_map.json").unlink(missing_ok=True)
    assert read(str(folder)).bos.token == "<bos>"


def test_tokenizer_from_vocabulary_and_merges(tmp_path, tokenizer):
    folder = save(hf_gpt2(vocab_size=len(tokenizer)), tmp_path / "m")
    tokenizer.backend_tokenizer.model.save(str(folder))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "GPT2Tokenizer"}))
    assert read(str(folder)).tokenizer.encode("the cat") == tokenizer.encode("the cat")


def test_code_beside_the_model_is_not_run(tmp_path, tokenizer):
    """auto_map names Python files of the folder; with a tokenizer.json they are not even looked at."""
    folder = save(hf_llama(vocab_size=len(tokenizer)), tmp_path / "m", tokenizer)
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings |= {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    assert read(str(folder)).tokenizer.encode("the cat") == tokenizer.encode("the cat")
    config = json.loads((folder / "config.json").read_text()) | {
        "model_type": "evil",
        "auto_map": {"AutoConfig": "evil.C"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="'evil'"):
        read(str(folder))
    assert not (tmp_path / "ran").exists()


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("form", ["zip", "before torch 1.6", "a bare pickle"])
def test_a_pickle_with_code_is_not_run(tmp_path, form):
    folder = save(hf_llama(), tmp_path / "m")
    (folder / "model.safetensors").unlink()
    state, file = {"x": Evil(str(tmp_path / "ran"))}, folder / "pytorch_model.bin"
    if form == "a bare pickle":
        file.write_bytes(pickle.dumps(state, protocol=2))
    else:
        torch.save(state, file, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(ValueError, match="never run"):
        read(str(folder))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kept", [0, 7, 100, 5000, -1])
@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_truncated_weights(tmp_path, kind, kept):
    folder = save(hf_llama(), tmp_path / "m")
    if kind == "bin":
        as_bin(folder)
    file = next(folder.glob(f"*.{kind}"))
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"damaged.*truncated"):
        read(str(folder))


def test_git_lfs_pointer(tmp_path):
    folder = save(hf_llama(), tmp_path / "m")
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(ValueError, match="git lfs pull"):
        read(str(folder))


def test_missing_parts_are_named(tmp_path):
    folder = save(hf_llama(), tmp_path / "m", max_shard_size="20KB")
    assert is_complete(folder)
    shard = sorted(folder.glob("*.safetensors"))[1]
    shard.unlink()
    assert not is_complete(folder)
    with pytest.raises(FileNotFoundError, match=shard.name):
        read(str(folder))
    for file in folder.glob("model*"):
        file.unlink()
    with pytest.raises(FileNotFoundError, match=r"no weights.*model\.safetensors"):
        read(str(folder))
    (folder / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"no config\.json"):
        read(str(folder))
    assert not is_complete(folder)


def test_index_that_lies(tmp_path):
    folder = save(hf_llama(), tmp_path / "m", max_shard_size="20KB")
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    shards = sorted(set(index["weight_map"].values()))
    index["weight_map"]["model.norm.weight"] = next(s for s in shards if s != index["weight_map"]["model.norm.weight"])
    path.write_text(json.dumps(index))
    with pytest.raises(ValueError, match=r"model\.norm\.weight"):
        read(str(folder))
    index["weight_map"]["model.norm.weight"] = "../secret.safetensors"
    path.write_text(json.dumps(index))
    with pytest.raises(ValueError, match="beside it"):
        read(str(folder))


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_damaged_text_files(tmp_path, tokenizer, name):
    folder = save(hf_llama(vocab_size=len(tokenizer)), tmp_path / "m", tokenizer)
    (folder / name).write_bytes((folder / name).read_bytes()[:20])
    with pytest.raises(ValueError, match=name):
        read(str(folder))


def test_another_architecture(tmp_path):
    folder = save(hf_llama(), tmp_path / "m")
    config = json.loads((folder / "config.json").read_text()) | {"model_type": "mamba"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="mamba"):
        read(str(folder))


def test_a_revision_of_a_folder_means_nothing(tmp_path):
    with pytest.raises(ValueError, match="no revisions"):
        read(str(save(hf_llama(), tmp_path / "m")), revision="main")


def test_wanted_files_of_a_repository():
    """One set of weights: safetensors before pickles, whole before sharded, nothing for other frameworks."""
    other = ["README.md", "flax_model.msgpack", "onnx/model.onnx", "model-16bit.safetensors", "modeling_x.py"]
    base = ["config.json", "tokenizer.json", "merges.txt"]
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"]
    pickles = ["pytorch_model.bin"]
    assert set(wanted([*other, *base, *pickles, "model.safetensors"])) == {*base, "model.safetensors"}
    assert set(wanted([*other, *base, *pickles, *shards])) == {*base, *shards}
    assert set(wanted([*other, *base, *pickles])) == {*base, *pickles}
    assert set(wanted(other)) == set()


def test_counts_of_the_training_text(hf, tmp_path):
    folder = save(hf, tmp_path / "m")
    assert read(str(folder)).token_counts is None
    counts = list(range(hf.config.vocab_size))
    (folder / "token_counts.json").write_text(json.dumps({"counts": counts}))
    assert read(str(folder)).token_counts.tolist() == counts


@pytest.mark.parametrize("value", ["{", "[1]", '{"counts": 3}', '{"counts": [1, 2]}', "{}"])
def test_damaged_counts_are_refused(hf, tmp_path, value):
    folder = save(hf, tmp_path / "m")
    (folder / "token_counts.json").write_text(value)
    with pytest.raises(ValueError, match=r"token_counts\.json"):
        read(str(folder))
