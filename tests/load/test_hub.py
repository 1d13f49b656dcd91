"""The Hub, as far as it can be tested without one: what is fetched, what the cache gives, what its errors become."""

import shutil
import threading
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest
from huggingface_hub import errors

from lens import HookedTransformer
from lens.load import hub, read
from tests.helpers import hf_gpt2
from tests.load.models import same_state, save
from tests.load.test_catalogue import in_hub_cache

COMMIT = "d" * 40
NAME = "Someone/their-model"


@pytest.fixture
def remote(caches, monkeypatch):
    """A stand-in for the Hub at its boundary: one repository, and a list of what was downloaded from it."""
    hf, fetched = hf_gpt2(), []
    source = save(hf, caches / "remote")
    (source / "README.md").write_text("not wanted")

    def model_info(self, hub_id, revision=None):
        return SimpleNamespace(siblings=[SimpleNamespace(rfilename=path.name) for path in source.iterdir()])

    def snapshot_download(hub_id, revision, allow_patterns, tqdm_class):
        fetched.extend(allow_patterns)
        assert threading.current_thread() is not threading.main_thread()
        folder = caches / "download"
        folder.mkdir()
        with tqdm_class(total=1000, unit="B") as bar, tqdm_class(total=1, unit="it"):
            for name in allow_patterns:
                shutil.copy(source / name, folder / name)
                bar.update(100)
        return str(in_hub_cache(caches, hub_id, folder, revision or "main", COMMIT))

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", model_info)
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    return SimpleNamespace(hf=hf, fetched=fetched, source=source)


def fails_with(monkeypatch, error):
    def model_info(self, hub_id, revision=None):
        raise error

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", model_info)


def http(kind, status=404):
    return kind("as the Hub says", response=httpx2.Response(status, request=httpx2.Request("GET", "https://hub")))


def test_only_what_is_needed_is_fetched_and_only_once(remote, stages, capfd):
    loaded = read(NAME, progress=stages)
    same_state(loaded.state, remote.hf)
    assert (loaded.name, loaded.revision) == (NAME, COMMIT)
    assert sorted(remote.fetched) == ["config.json", "model.safetensors"]
    assert stages.texts[0] == f"Asking the Hub about {NAME}"
    assert stages.fractions == sorted(stages.fractions)
    assert capfd.readouterr() == ("", "")
    read(NAME)
    read(NAME, revision=COMMIT)
    assert len(remote.fetched) == 2


def test_a_revision_is_asked_for_and_kept(remote):
    assert read(NAME, revision="step1000").revision == "step1000"
    read(NAME, revision="step1000")
    assert len(remote.fetched) == 2
    assert hub.cached(NAME) is None


def test_a_cancelled_download_raises_at_once(remote, caches):
    class Cancelled(BaseException):
        pass

    def cancel(fraction, text):
        if text.startswith("Downloading"):
            raise Cancelled

    with pytest.raises(Cancelled):
        read(NAME, progress=cancel)


def test_the_cache_needs_no_network(caches, monkeypatch):
    fails_with(monkeypatch, AssertionError("the Hub was asked"))
    hf = hf_gpt2()
    in_hub_cache(caches, "gpt2", save(hf, caches / "m"))
    same_state(HookedTransformer.from_pretrained(str(hub.cached("gpt2"))).state_dict(), hf)
    assert read(str(hub.cached("gpt2"))).revision is None


def test_start_token_of_the_table(caches, tokenizer):
    """The table puts <|endoftext|> before GPT-2's texts; a tokenizer without it is another model's."""
    in_hub_cache(caches, "gpt2", save(hf_gpt2(vocab_size=len(tokenizer)), caches / "m", tokenizer))
    with pytest.raises(ValueError, match="endoftext"):
        read("gpt2")


def test_offline_says_what_there_is(caches, monkeypatch):
    in_hub_cache(caches, "Someone/else", save(hf_gpt2(), caches / "m"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConnectionError, match="cannot be reached") as error:
        read("gpt2")
    assert "smollm2-135m-instruct" in str(error.value)
    assert "Someone/else" in str(error.value)


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (errors.HTTPError("Name or service not known"), ConnectionError, "cannot be reached"),
        (errors.OfflineModeIsEnabled(), ConnectionError, "cannot be reached"),
        (errors.LocalEntryNotFoundError("x"), ConnectionError, "cannot be reached"),
        (http(errors.GatedRepoError, 403), ValueError, "gated.*hf auth login"),
        (http(errors.RepositoryNotFoundError), ValueError, "no public model"),
        (http(errors.RevisionNotFoundError), ValueError, "no revision 'step7'"),
        (http(errors.HfHubHTTPError, 503), OSError, "answered.*error"),
    ],
)
def test_errors_are_sentences(monkeypatch, error, kind, words):
    fails_with(monkeypatch, error)
    with pytest.raises(kind, match=words) as raised:
        read(NAME, revision="step7")
    assert NAME in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_repository_without_a_model(remote):
    (remote.source / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"wants config\.json and safetensors"):
        read(NAME)


@pytest.mark.hub
def test_the_real_hub(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    model = HookedTransformer.from_pretrained("distilgpt2")
    assert model.bos.id == 50256
    assert {path.suffix for path in Path(hub.cached("distilbert/distilgpt2")).iterdir()} <= {
        ".json",
        ".txt",
        ".safetensors",
    }
    assert model.to_str_tokens(" Claire", prepend_bos=False) == [" Claire"]
