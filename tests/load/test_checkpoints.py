"""Checkpoints: which there are, by their exact labels, wherever the list comes from, and that each is the right one."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lens import HookedTransformer
from lens.load import hub, read
from lens.load.checkpoints import checkpoints
from lens.load.patterns import Pattern
from tests.helpers import hf_gpt2, hf_llama
from tests.load.models import same_state, save

LABELS = json.loads((Path(__file__).parents[1] / "data" / "checkpoint_labels.json").read_text("utf-8"))
UNITS = {"attn-only-2l": "tokens", "solu-12l": "tokens"}


class TestFormulas:
    """With no network, the lists are those of the repositories."""

    @pytest.mark.parametrize("name", LABELS)
    def test_labels_are_those_of_the_repository(self, name, no_network):
        found = checkpoints(name)
        assert list(found.labels) == LABELS[name]
        assert found.unit == UNITS.get(name, "steps")
        assert found.source == "formula"
        assert len(set(found.places)) == len(found)

    def test_labels_that_published_work_uses(self, no_network):
        found = checkpoints("attn-only-2l")
        wanted = {10: 22_282_240, 25: 187_432_960, 35: 528_482_304, 60: 1_628_438_528, -1: 21_780_496_384}
        assert {index: found.at(index).label for index in wanted} == wanted
        assert found.tokens_per_step == 262_144
        assert found.tokens == found.labels
        assert found.at(10).place == "checkpoints/tokens_000022282240.pth"
        assert checkpoints("solu-2l").labels == found.labels

    def test_pythia_and_crfm_are_revisions(self, no_network):
        pythia, v0 = checkpoints("pythia-70m"), checkpoints("EleutherAI/pythia-70m-v0")
        assert (len(pythia), len(v0)) == (154, 143)
        assert pythia.places[:4] == ("step0", "step1", "step2", "step4")
        assert pythia.at(value=143_000).tokens == 143_000 * 2_097_152
        assert (v0.places[0], v0.places[-1]) == ("step1000", "step143000")
        crfm = checkpoints("stanford-gpt2-medium-b")
        assert (len(crfm), crfm.at(-1).place, crfm.unit) == (609, "checkpoint-400000", "steps")

    @pytest.mark.parametrize("name", ["gelu-3l", "solu-4l-pile", "attn-only-2l-demo"])
    def test_unknown_offline(self, name, no_network):
        with pytest.raises(ConnectionError, match="not known offline"):
            checkpoints(name)

    @pytest.mark.parametrize("name", ["gpt2", "Someone/model", "smollm2"])
    def test_models_without_checkpoints(self, name, no_network):
        with pytest.raises(ValueError, match=r"no training checkpoints.*pythia-70m"):
            checkpoints(name)


class TestChoosing:
    def test_by_index_and_by_value(self, no_network):
        found = checkpoints("pythia-70m")
        assert found.at(-1) == found.at(153) == found.at(value=143_000)
        assert found.at(0).label == 0
        assert found.at(value=0).index == 0

    @pytest.mark.parametrize(("value", "nearest"), [(300, 256), (385, 512), (10**9, 143_000), (-5, 0), (1400, 1000)])
    def test_a_miss_offers_the_nearest(self, value, nearest, no_network):
        with pytest.raises(ValueError, match=f"no checkpoint at .*checkpoint_value={nearest},"):
            checkpoints("pythia-70m").at(value=value)

    @pytest.mark.parametrize("index", [154, -155, 10_000])
    def test_an_index_outside(self, index, no_network):
        with pytest.raises(ValueError, match=r"154 checkpoints, index 0 … 153"):
            checkpoints("pythia-70m").at(index)

    def test_exactly_one_of_the_two(self, no_network):
        for both in ({}, {"index": 1, "value": 1}):
            with pytest.raises(ValueError, match="one of the two"):
                checkpoints("pythia-70m").at(**both)


class TestPatterns:
    def test_numbers_and_wildcards(self):
        names = ["step1-tokens2B", "step30-tokens60B", "step5", "xstep7-tokens9B", "step8/tokens1B"]
        assert Pattern("step{step}-tokens*").matches(names) == {1: "step1-tokens2B", 30: "step30-tokens60B"}
        assert Pattern("ckpt/m_{tokens:06}.safetensors").matches(["ckpt/m_000120.safetensors"]) == {
            120: "ckpt/m_000120.safetensors"
        }
        assert Pattern("a.{step}").matches(["a.1", "ab1"]) == {1: "a.1"}
        assert list(Pattern("s{step}").matches(["s10", "s9"])) == [9, 10]

    @pytest.mark.parametrize("text", ["step", "{step}{tokens}", "{index}", "{step", "{step!r}", "{step.real}", ""])
    def test_what_is_no_pattern(self, text):
        with pytest.raises(ValueError, match="must hold the number once"):
            Pattern(text)

    def test_two_names_of_one_number(self):
        with pytest.raises(ValueError, match="narrower"):
            Pattern("*_{step}").matches(["a_1", "b_1"])


@pytest.fixture
def run(tmp_path):
    """A run of the Hugging Face Trainer: models at steps 0, 10 and 200, and one that was not saved to its end."""
    folder, models = tmp_path / "run", {}
    for step in (10, 200, 0):
        models[step] = hf_gpt2(n_layer=1)
        with torch.no_grad():
            models[step].transformer.wte.weight.add_(step)
        place = save(models[step], folder / f"checkpoint-{step}")
        (place / "trainer_state.json").write_text(json.dumps({"global_step": step, "num_input_tokens_seen": 0}))
    save(hf_gpt2(n_layer=1), folder / "checkpoint-300")
    (folder / "checkpoint-300" / "model.safetensors").unlink()
    (folder / "logs").mkdir()
    return folder, models


class TestOwnRuns:
    def test_folders_of_the_trainer(self, run):
        folder, models = run
        found = checkpoints(str(folder))
        assert (found.labels, found.unit, found.source, found.tokens) == ((0, 10, 200), "steps", "folders", None)
        loaded = read(str(folder), checkpoint_value=10)
        same_state(loaded.state, models[10])
        assert (loaded.revision, loaded.checkpoint.index, loaded.name) == ("checkpoint-10", 1, str(folder))
        same_state(read(str(folder), checkpoint_index=-1).state, models[200])

    def test_tokens_given_or_counted(self, run):
        folder, _ = run
        assert checkpoints(str(folder), tokens_per_step=512).tokens == (0, 5120, 102_400)
        for step, tokens in ((10, 4000), (200, 81_000)):
            state = {"global_step": step, "num_input_tokens_seen": tokens}
            (folder / f"checkpoint-{step}" / "trainer_state.json").write_text(json.dumps(state))
        assert checkpoints(str(folder)).tokens == (0, 4000, 81_000)
        assert checkpoints(str(folder)).at(-1).tokens == 81_000
        (folder / "checkpoint-10" / "trainer_state.json").unlink()
        assert checkpoints(str(folder)).tokens is None

    def test_steps_are_those_that_the_trainer_wrote_down(self, run):
        """Folders named by epoch, as some save them: the label is the step."""
        folder, models = run
        for epoch, step in enumerate((0, 10, 200)):
            (folder / f"checkpoint-{step}").rename(folder / f"epoch-{epoch}")
        found = checkpoints(str(folder), "epoch-{step}")
        assert (found.labels, found.unit) == ((0, 10, 200), "steps")
        assert found.at(value=200).place == "epoch-2"
        same_state(read(found, checkpoint_value=10).state, models[10])
        (folder / "epoch-1" / "trainer_state.json").unlink()
        assert checkpoints(str(folder), "epoch-{step}").labels == (0, 1, 200)
        (folder / "epoch-1" / "trainer_state.json").write_text(json.dumps({"global_step": 200}))
        with pytest.raises(ValueError, match="both step 200"):
            checkpoints(str(folder), "epoch-{step}")

    def test_negative_indices_and_the_nearest_label_of_an_own_run(self, run):
        folder, models = run
        same_state(read(str(folder), checkpoint_index=-2).state, models[10])
        with pytest.raises(ValueError, match=r"nearest is 10 \(checkpoint_value=10, index 1\)"):
            read(str(folder), checkpoint_value=60)

    def test_a_checkpoint_opens_by_the_name_of_its_folder(self, run):
        folder, models = run
        loaded = read(str(folder), revision="checkpoint-10")
        same_state(loaded.state, models[10])
        assert (loaded.revision, loaded.checkpoint.label) == ("checkpoint-10", 10)
        assert len(loaded.checkpoints) == 3
        with pytest.raises(ValueError, match="no checkpoint 'checkpoint-7'; it has checkpoint-0 … checkpoint-200"):
            read(str(folder), revision="checkpoint-7")
        for revision in ("main", "../checkpoint-10", "checkpoint-300"):
            with pytest.raises(ValueError, match=r"has no revisions|has no checkpoint"):
                read(str(folder), revision=revision)

    def test_without_a_checkpoint_the_run_says_what_to_do(self, run):
        with pytest.raises(FileNotFoundError, match="checkpoint_index=-1"):
            read(str(run[0]))

    def test_files_by_pattern(self, tmp_path):
        models = {step: hf_llama() for step in (5, 40)}
        folder = save(models[40], tmp_path / "m")
        for step, model in models.items():
            with torch.no_grad():
                model.lm_head.weight.add_(step)
            save_file(model.state_dict(), folder / f"at_{step:05}.safetensors", metadata={"format": "pt"})
        found = checkpoints(str(folder), "at_{tokens:05}.safetensors")
        assert (found.labels, found.unit, found.where, found.tokens) == ((5, 40), "tokens", "files", (5, 40))
        assert found.tokens_per_step is None
        loaded = read(found, checkpoint_index=0)
        same_state(loaded.state, models[5])
        assert loaded.revision == "at_00005.safetensors"
        assert found.is_local(0)
        with pytest.raises(ValueError, match="no checkpoints named"):
            checkpoints(str(folder), "step{step}.safetensors")

    def test_a_model_folder_is_no_run(self, tmp_path):
        with pytest.raises(ValueError, match="no checkpoints named"):
            checkpoints(str(save(hf_llama(), tmp_path / "m")))

    def test_a_list_wants_a_choice(self, run):
        with pytest.raises(ValueError, match="one of the two"):
            read(checkpoints(str(run[0])))


class TestRepositories:
    def test_revisions_by_pattern(self, fake_hub, tmp_path):
        models = {step: hf_gpt2(n_layer=1) for step in (1, 20)}
        for step, model in models.items():
            with torch.no_grad():
                model.transformer.wpe.weight.add_(step)
            fake_hub.add("Someone/run", save(model, tmp_path / str(step)), f"stage1-step{step}")
        fake_hub.add("Someone/run", save(hf_gpt2(), tmp_path / "main"))
        found = checkpoints("Someone/run", "stage*-step{step}")
        assert (found.labels, found.source, found.tokens) == ((1, 20), "revisions", None)
        assert checkpoints("Someone/run", "stage*-step{step}", tokens_per_step=100).tokens == (100, 2000)
        assert not found.is_local(1)
        model = HookedTransformer.from_pretrained(found, checkpoint_value=20)
        same_state(model.state_dict(), models[20])
        assert (model.revision, model.checkpoint.label) == ("stage1-step20", 20)
        assert found.is_local(1)

    def test_every_file_is_of_the_revision(self, fake_hub, tmp_path):
        """Nothing of another branch fills in for what a revision lacks, even if it is on the disk already."""
        whole, bare = hf_gpt2(n_layer=1), save(hf_gpt2(n_layer=1), tmp_path / "bare")
        fake_hub.add("Someone/run", save(whole, tmp_path / "main"))
        (bare / "model.safetensors").unlink()
        fake_hub.add("Someone/run", bare, "step1")
        read("Someone/run")
        with pytest.raises(ValueError, match="no model that Lens reads"):
            read("Someone/run", revision="step1")
        assert hub.cached("Someone/run", "step1") is None

    def test_pythia_opens_at_a_step(self, fake_hub, tmp_path):
        hf = hf_gpt2(n_layer=1)
        fake_hub.add("EleutherAI/pythia-70m", save(hf, tmp_path / "m"), "step512")
        loaded = read("pythia", checkpoint_value=512)
        same_state(loaded.state, hf)
        assert (loaded.name, loaded.revision) == ("pythia-70m", "step512")
        with pytest.raises(ValueError, match="are revisions: leave out"):
            read("pythia", checkpoint_value=512, revision="main")
        with pytest.raises(ValueError, match="no revision 'step4'"):
            read("pythia", checkpoint_value=4)

    def test_weight_files_of_a_repository(self, fake_hub, tmp_path):
        hf = hf_llama()
        folder = fake_hub.add("Someone/run", save(hf, tmp_path / "m"))
        (folder / "ck").mkdir()
        save_file(hf.state_dict(), folder / "ck" / "3.safetensors", metadata={"format": "pt"})
        found = checkpoints("Someone/run", "ck/{step}.safetensors")
        same_state(read(found, checkpoint_index=0).state, hf)
        assert sorted(fake_hub.served) == ["ck/3.safetensors", "config.json", "generation_config.json"]
