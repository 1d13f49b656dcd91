"""The Hub, as far as it can be tested on one machine: what is fetched, what the cache gives, what errors become."""

import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest
from huggingface_hub import errors

from lens import HookedTransformer
from lens.load import hub, read
from lens.load.catalogue import available_offline
from lens.load.download import Speed, time_left
from tests.helpers import hf_gpt2, shaken
from tests.load.models import same_state, save
from tests.load.test_catalogue import in_hub_cache

NAME = "Someone/their-model"
SMALL = ("config.json", "generation_config.json")
FETCHED = (*SMALL, "model.safetensors")


@pytest.fixture
def remote(caches, fake_hub):
    """One repository on the fake Hub, with files that no model needs."""
    hf = hf_gpt2()
    source = fake_hub.add(NAME, save(hf, caches / "remote"))
    (source / "README.md").write_text("not wanted")
    (source / "pytorch_model.bin").write_bytes(b"not wanted either")
    return SimpleNamespace(hf=hf, source=source, commit=fake_hub.commit(NAME, "main"))


def fails_with(monkeypatch, error):
    def model_info(self, hub_id, revision=None, files_metadata=False):
        raise error

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", model_info)


def http(kind, status=404):
    return kind("as the Hub says", response=httpx2.Response(status, request=httpx2.Request("GET", "https://hub")))


class TestFetching:
    def test_only_what_is_needed_is_fetched_and_only_once(self, remote, fake_hub, stages, capfd):
        capfd.readouterr()  # what saving the repository printed
        loaded = read(NAME, progress=stages)
        same_state(loaded.state, remote.hf)
        assert (loaded.name, loaded.revision) == (NAME, remote.commit)
        assert sorted(fake_hub.served) == sorted(FETCHED)
        assert stages.texts[0] == f"Asking the Hub about {NAME}"
        assert stages.fractions == sorted(stages.fractions)
        assert capfd.readouterr() == ("", "")
        read(NAME)
        read(NAME, revision=remote.commit)
        assert len(fake_hub.served) == 3

    def test_a_revision_is_asked_for_and_kept(self, fake_hub, caches):
        first, last = hf_gpt2(), hf_gpt2(n_layer=2)
        fake_hub.add(NAME, save(last, caches / "last"))
        fake_hub.add(NAME, save(first, caches / "first"), "step1000")
        loaded = read(NAME, revision="step1000")
        assert loaded.revision == "step1000"
        same_state(loaded.state, first)
        assert hub.cached(NAME) is None
        same_state(read(NAME).state, last)
        served = len(fake_hub.served)
        same_state(read(NAME, revision="step1000").state, first)
        assert len(fake_hub.served) == served

    def test_what_the_hub_does_not_have(self, remote, fake_hub):
        with pytest.raises(ValueError, match="no public model"):
            read("Someone/absent")
        with pytest.raises(ValueError, match="no revision 'step7'"):
            read(NAME, revision="step7")
        (remote.source / "model.safetensors").unlink()
        (remote.source / "pytorch_model.bin").unlink()
        with pytest.raises(ValueError, match=r"wants config\.json and safetensors"):
            read(NAME)

    def test_shards_of_one_model(self, fake_hub, caches):
        hf = hf_gpt2()
        source = fake_hub.add(NAME, save(hf, caches / "remote", max_shard_size="20KB"))
        same_state(read(NAME).state, hf)
        assert len(fake_hub.served) == 1 + 1 + 1 + len(list(source.glob("*.safetensors")))


class Cancelled(BaseException):
    """Streamlit stops a run by raising a BaseException out of whatever it is doing."""


def cancelled(fake_hub, after=1):
    """A load that is cancelled while its weight file number ``after`` is under way."""
    fake_hub.stops_at = after

    def cancel(fraction, text):
        if not fake_hub.gate.is_set():
            raise Cancelled

    with pytest.raises(Cancelled):
        read(NAME, progress=cancel)
    fake_hub.gate.set()


def settled(blobs: Path) -> int:
    """Bytes kept of the file that was under way, once the download's own thread has ended."""
    size, same = -1, 0
    while same < 10:
        now = sum(path.stat().st_size for path in blobs.glob("*.incomplete"))
        size, same = now, same + 1 if now == size else 0
        time.sleep(0.02)
    return size


class TestLongDownloads:
    def test_bytes_rate_and_time_left(self):
        speed = Speed(548_000_000)
        assert speed.report("gpt2", 0, 0, now=10.0) == (0.0, "Downloading gpt2: 0 of 548 MB")
        speed.report("gpt2", 20_000_000, 0, now=12.0)
        fraction, text = speed.report("gpt2", 48_000_000, 0, now=14.0)
        assert fraction == pytest.approx(48 / 548)
        assert text == "Downloading gpt2: 48 of 548 MB, 12.0 MB/s, 42 s left"
        later = speed.report("gpt2", 49_000_000, 0, now=19.0)[1]  # the last five seconds alone
        assert "0.2 MB/s, 42 min left" in later
        assert Speed(None).report("gpt2", 7, 0, now=0.0) == (0.0, "Downloading gpt2")
        assert Speed(None).report("gpt2", 7, 28, now=0.0) == (0.25, "Downloading gpt2: 7 of 28 bytes")

    @pytest.mark.parametrize(("seconds", "text"), [(3.2, "3 s"), (99, "99 s"), (130, "2 min"), (7300, "2 h 02 min")])
    def test_times_as_people_say_them(self, seconds, text):
        assert time_left(seconds) == text

    def test_the_sum_of_the_files_is_known_before_the_first_byte(self, remote, stages):
        read(NAME, progress=stages)
        total = sum((remote.source / name).stat().st_size for name in FETCHED)
        assert f"Downloading {NAME}: 0 of {total:,} bytes" in stages.texts

    def test_a_cancelled_download_ends_and_the_next_goes_on_from_there(self, remote, fake_hub, caches, stages):
        cancelled(fake_hub)
        blobs = caches / "hub-cache" / "models--Someone--their-model" / "blobs"
        ended_at = settled(blobs)
        assert 0 < ended_at < (remote.source / "model.safetensors").stat().st_size
        assert hub.cached(NAME) is None
        same_state(read(NAME, progress=stages).state, remote.hf)
        assert fake_hub.served.count("config.json") == fake_hub.served.count("model.safetensors") == 1
        assert fake_hub.ranges == ["model.safetensors"]
        assert not list(blobs.glob("*.incomplete"))
        first = next(text for text in stages.texts if text.startswith("Downloading"))
        assert first.startswith(f"Downloading {NAME}: 0 of")

    def test_what_was_kept_of_another_version_is_not_used(self, remote, fake_hub, caches):
        cancelled(fake_hub)
        settled(caches / "hub-cache" / "models--Someone--their-model" / "blobs")
        save(shaken(remote.hf, seed=1), remote.source)
        same_state(read(NAME).state, remote.hf)
        assert fake_hub.ranges == []

    def test_a_kept_part_that_is_damaged_is_found_and_thrown_away(self, remote, fake_hub, caches):
        cancelled(fake_hub)
        blobs = caches / "hub-cache" / "models--Someone--their-model" / "blobs"
        settled(blobs)
        (part,) = blobs.glob("*.incomplete")
        part.write_bytes(bytes(part.stat().st_size))
        with pytest.raises(OSError, match=r"did not arrive as it is on the Hub.*Open the model again"):
            read(NAME)
        assert hub.cached(NAME) is None
        same_state(read(NAME).state, remote.hf)

    def test_a_connection_that_stays_away(self, remote, fake_hub, monkeypatch):
        """The sentence says how far it came, and the next try goes on."""
        monkeypatch.setattr("time.sleep", lambda seconds: None)
        fake_hub.break_at, fake_hub.down_after_break = 30_000, True
        with pytest.raises(ConnectionError, match=r"broke at 29,\d{3} of .* bytes of model\.safetensors.*kept"):
            read(NAME)
        fake_hub.down_after_break = fake_hub.down = False
        same_state(read(NAME).state, remote.hf)
        assert fake_hub.served.count("model.safetensors") == 1

    def test_shards_go_on_one_by_one(self, fake_hub, caches):
        hf = hf_gpt2()
        fake_hub.add(NAME, save(hf, caches / "remote", max_shard_size="40KB"))
        cancelled(fake_hub, after=2)
        settled(caches / "hub-cache" / "models--Someone--their-model" / "blobs")
        before = list(fake_hub.served)
        same_state(read(NAME).state, hf)
        assert len(fake_hub.served) == len(set(fake_hub.served)), "nothing was sent twice from its start"
        assert len(before) < len(fake_hub.served)

    def test_a_broken_connection_goes_on_where_it_was(self, remote, fake_hub, monkeypatch):
        monkeypatch.setattr("time.sleep", lambda seconds: None)
        fake_hub.break_at = 30_000
        same_state(read(NAME).state, remote.hf)
        assert fake_hub.ranges == ["model.safetensors"]

    def test_a_disk_without_room(self, remote, fake_hub, monkeypatch):
        monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1_000))
        with pytest.raises(OSError, match=r"needs 0 MB.*room for 0 MB.*HF_HOME"):
            read(NAME)
        assert fake_hub.served == []
        monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=10**9))
        read(NAME)

    def test_what_was_kept_needs_no_room_again(self, remote, fake_hub, caches, monkeypatch):
        whole = sum((remote.source / name).stat().st_size for name in FETCHED)
        cancelled(fake_hub)
        kept = settled(caches / "hub-cache" / "models--Someone--their-model" / "blobs")
        small = sum((remote.source / name).stat().st_size for name in SMALL)
        monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=whole - small - kept - 1))
        with pytest.raises(OSError, match="HF_HOME"):
            read(NAME)
        monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=whole - small - kept))
        monkeypatch.setattr("huggingface_hub.file_download._check_disk_space", lambda *args: None)
        same_state(read(NAME).state, remote.hf)

    def test_what_is_there_already_needs_no_room(self, remote, fake_hub, caches, monkeypatch):
        read(NAME)
        (Path(hub.cached(NAME)) / "config.json").resolve().unlink()
        monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=10_000))
        same_state(read(NAME).state, remote.hf)


class TestCache:
    def test_the_cache_needs_no_network(self, caches, monkeypatch):
        fails_with(monkeypatch, AssertionError("the Hub was asked"))
        hf = hf_gpt2()
        in_hub_cache(caches, "gpt2", save(hf, caches / "m"))
        same_state(HookedTransformer.from_pretrained(str(hub.cached("gpt2"))).state_dict(), hf)
        assert read(str(hub.cached("gpt2"))).revision is None

    def test_start_token_of_the_table(self, caches, tokenizer):
        """The table puts <|endoftext|> before GPT-2's texts; a tokenizer without it is another model's."""
        in_hub_cache(caches, "gpt2", save(hf_gpt2(vocab_size=len(tokenizer)), caches / "m", tokenizer))
        with pytest.raises(ValueError, match="endoftext"):
            read("gpt2")

    def test_a_model_whose_texts_begin_bare(self, caches, tokenizer):
        """The policy names the token all the same, so that the switch can put it there."""
        in_hub_cache(caches, "EleutherAI/pythia-70m", save(hf_gpt2(vocab_size=len(tokenizer)), caches / "m", tokenizer))
        model = HookedTransformer.from_pretrained("pythia")
        assert model.bos[:3] == (0, "<bos>", False)
        assert "version 4 does not" in model.bos.reason
        assert model.to_tokens("a", prepend_bos=True).tolist() == [[0, *model.to_tokens("a")[0].tolist()]]

    def test_models_that_are_refused_are_not_offered(self, caches):
        in_hub_cache(caches, "google-bert/bert-base-cased", save(hf_gpt2(), caches / "m"))
        assert "google-bert/bert-base-cased" not in available_offline()
        with pytest.raises(ValueError, match="is an encoder"):
            read("bert-base-cased")

    def test_offline_says_what_there_is(self, caches, no_network):
        in_hub_cache(caches, "Someone/else", save(hf_gpt2(), caches / "m"))
        with pytest.raises(ConnectionError, match="cannot be reached") as error:
            read("gpt2")
        assert "smollm2-135m-instruct" in str(error.value)
        assert "Someone/else" in str(error.value)

    def test_a_cache_that_lost_a_file_is_filled_again(self, remote, fake_hub, caches):
        read(NAME)
        shutil.rmtree(caches / "hub-cache" / "models--Someone--their-model" / "blobs")
        assert hub.cached(NAME) is None
        same_state(read(NAME).state, remote.hf)


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
