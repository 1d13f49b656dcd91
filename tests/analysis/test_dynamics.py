"""Curves over training: at each checkpoint the plain analyses, whether computed, swapped in or read from disk."""

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from lens import HookedTransformer
from lens.analysis.checkpoint import Setting, measure_repeats, measure_texts
from lens.analysis.dynamics import (
    InstrumentCurves,
    Places,
    coarse_first,
    dynamics,
    head_curve,
    heads_in_order,
    in_context_score,
    instrument_dynamics,
    instrument_end,
    strongest,
    summarise,
)
from lens.analysis.head_scores import head_scores
from lens.analysis.held_out import beginnings
from lens.analysis.induction_loss import loss_by_position
from lens.analysis.instruments.measure import cost_of
from lens.analysis.instruments.registry import instrument
from lens.analysis.instruments.sample import WEIGHTS, repeats
from lens.analysis.names import Head
from lens.analysis.training_run import TrainingRun
from lens.finite import NotFinite
from lens.load.checkpoints import checkpoints
from lens.load.identity import content_of
from lens.results import results_folder
from lens.texts import held_out
from tests.analysis.runs import STEPS, spoil, write_run
from tests.helpers import hf_gpt2

SETTING = Setting(n=12, seqs=16, seed=3, texts=4)
PLACES = Places(late=40, early=8, around=2)


@pytest.fixture(autouse=True)
def kept(tmp_path, monkeypatch):
    monkeypatch.setenv("LENS_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tokenizer):
    return write_run(tmp_path_factory.mktemp("runs") / "run", tokenizer)


@pytest.fixture
def run(folder):
    return TrainingRun(checkpoints(str(folder)))


def fresh(folder, index):
    return HookedTransformer.from_pretrained(str(folder), checkpoint_index=index)


class Forbidden(TrainingRun):
    """A run that may not compute."""

    def _opened(self):
        raise RuntimeError("the model was opened")


def close(one, other):
    torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5, equal_nan=True)


def test_every_checkpoint_is_the_plain_analysis_of_a_freshly_loaded_model(run, folder):
    curves = dynamics(run, SETTING, PLACES)
    assert curves.labels == list(STEPS)
    for place, index in enumerate(range(len(STEPS))):
        model = fresh(folder, index)
        inputs = run.inputs(SETTING)
        scores = head_scores(model, inputs.repeated)
        close(curves.induction[place], scores["induction"].score.mean)
        close(curves.control[place], scores["induction"].null_mean)
        close(curves.effect[place], scores["induction"].effect.mean)
        close(curves.previous[place], scores["previous"].score.mean)
        assert float(curves.null[place]) == pytest.approx(scores["induction"].threshold, abs=1e-6)
        assert float(curves.previous_null[place]) == pytest.approx(scores["previous"].threshold, abs=1e-6)
        losses = loss_by_position(model, inputs.repeated)
        close(curves.first_copy.mean[place], losses.first.mean)
        close(curves.second_copy.low[place], losses.second.low)
        close(curves.second_copy.high[place], losses.second.high)
        tokens = inputs.texts.tokens
        loss = torch.stack([model(row[None], return_type="loss", loss_per_token=True)[0] for row in tokens])
        close(curves.held_out.mean[place], loss.mean())
        late, early = loss[:, 38:43].mean(1), loss[:, 6:11].mean(1)
        close(curves.in_context.mean[place], (late - early).mean())


def test_one_checkpoint_is_the_same_point_and_has_no_slope(run):
    whole, one = dynamics(run, SETTING, PLACES), dynamics(run, SETTING, PLACES, indices=[2])
    close(one.effect[0], whole.effect[2])
    close(one.held_out.mean[0], whole.held_out.mean[2])
    assert one.window.first is None
    assert "no slope: 1 checkpoint" in one.window.reason


def test_cached_is_fresh_and_opens_no_model(run, folder):
    computed = dynamics(run, SETTING, PLACES)
    kept = dynamics(Forbidden(checkpoints(str(folder))), SETTING, PLACES)
    for one, other in zip(computed, kept, strict=True):
        if isinstance(one, torch.Tensor):
            assert torch.equal(one, other)
    assert torch.equal(computed.held_out.mean, kept.held_out.mean)
    assert computed.window == kept.window
    with pytest.raises(RuntimeError, match="opened"):
        dynamics(Forbidden(checkpoints(str(folder))), SETTING._replace(seed=4), PLACES)


def test_a_damaged_result_is_computed_again_and_never_shown(run, folder):
    before = run.repeats(1, SETTING)
    (file,) = results_folder().glob("repeats-*")
    data = bytearray(file.read_bytes())
    data[-5] ^= 255
    file.write_bytes(data)
    again = TrainingRun(checkpoints(str(folder))).repeats(1, SETTING)
    for one, other in zip(before, again, strict=True):
        assert torch.equal(one, other)


def test_other_weights_under_the_same_name_are_another_result(tmp_path, tokenizer):
    folder = write_run(tmp_path / "run", tokenizer, steps=(0, 10))
    found = checkpoints(str(folder))
    before, name = TrainingRun(found).repeats(1, SETTING), content_of(found, 1)
    assert content_of(found, 0) != name
    (folder / "checkpoint-10" / "model.safetensors").unlink()
    hf_gpt2(vocab_size=len(tokenizer), n_layer=2, n_head=8).save_pretrained(folder / "checkpoint-10")
    hf_gpt2(vocab_size=len(tokenizer), n_layer=2, n_head=8).save_pretrained(folder / "checkpoint-0")
    assert content_of(found, 1) != name
    after = TrainingRun(found).repeats(1, SETTING)
    assert after.induction.shape != before.induction.shape


def test_order_does_not_matter(run, folder):
    forwards = [run.repeats(i, SETTING).induction for i in range(3)]
    for file in results_folder().iterdir():
        file.unlink()
    other = TrainingRun(checkpoints(str(folder)))
    backwards = [other.repeats(i, SETTING).induction for i in (2, 0, 1)]
    for i, induction in zip((2, 0, 1), backwards):
        assert torch.equal(forwards[i], induction)
    assert not torch.equal(forwards[0], forwards[1])


def test_batches_and_padding_change_nothing(run, folder, monkeypatch):
    model, inputs = fresh(folder, 1), run.inputs(SETTING)
    whole, texts = measure_repeats(model, inputs.repeated), measure_texts(model, inputs.texts)
    short = inputs.texts.mask.clone()
    short[1, 20:] = False
    cut = measure_texts(model, inputs.texts._replace(mask=short)).loss
    close(cut[1, :19], texts.loss[1, :19])
    assert cut[1, 19:].isnan().all()
    close(cut[0], texts.loss[0])
    monkeypatch.setattr("lens.analysis.checkpoint.TOKENS", 1)
    for one, other in zip(measure_repeats(model, inputs.repeated), whole, strict=True):
        close(one, other)


def test_a_pattern_is_the_head_of_that_checkpoint(run, folder):
    tokens = run.inputs(SETTING).repeated.tokens[:1]
    for index in (3, 0):
        _, cache = fresh(folder, index).run_with_cache(tokens)
        close(run.pattern(index, tokens, Head(1, 2)), cache["pattern", 1][0, 2])


def test_one_head_is_a_column_of_all(run):
    curves = dynamics(run, SETTING, PLACES)
    repeats = {i: run.repeats(i, SETTING) for i in range(len(STEPS))}
    one = head_curve(repeats, Head(1, 3))
    close(one.effect.mean, curves.effect[:, 1, 3])
    close(one.previous.mean, curves.previous[:, 1, 3])
    best = strongest(curves)
    assert curves.effect[-1, best.layer, best.head] == curves.effect[-1].max()


def test_a_checkpoint_that_is_not_finite_loses_its_own_point(tmp_path, tokenizer):
    sound, broken = (write_run(tmp_path / name, tokenizer, steps=STEPS[:4]) for name in ("sound", "broken"))
    spoil(broken, STEPS[2])
    want = dynamics(TrainingRun(checkpoints(str(sound))), SETTING, PLACES, indices=[0, 1, 3])
    found = dynamics(TrainingRun(checkpoints(str(broken))), SETTING, PLACES)
    assert found.indices == want.indices == [0, 1, 3]
    close(found.induction, want.induction)
    close(found.held_out.mean, want.held_out.mean)
    (said,) = found.lost
    assert said.startswith(f"The checkpoint at {STEPS[2]} steps: ")
    assert "NaN in layer 1 (blocks.1.mlp.hook_pre), first at position 0" in said
    assert want.lost == ()
    for step in STEPS[:4]:
        spoil(broken, step)
    with pytest.raises(NotFinite, match=r"No checkpoint of .* can be measured"):
        dynamics(TrainingRun(checkpoints(str(broken))), SETTING, PLACES)


def test_a_run_without_a_tokenizer_has_scores_and_no_texts(tmp_path):
    for step in (1, 2):
        hf_gpt2().save_pretrained(tmp_path / "run" / f"checkpoint-{step}")
    run = TrainingRun(checkpoints(str(tmp_path / "run")))
    curves = dynamics(run, Setting(n=10, seqs=16), PLACES)
    assert curves.held_out is None
    assert curves.in_context is None
    assert curves.induction.shape == (2, 3, 4)


class TestInContext:
    def test_by_hand(self):
        loss = torch.arange(30.0).repeat(2, 16, 1)
        score = in_context_score(loss, Places(20, 5, 0))
        assert score.mean.tolist() == [15.0, 15.0]
        assert score.n == 16

    def test_short_texts_are_left_out(self):
        loss = torch.zeros(3, 20, 30)
        loss[:, :4, 25:] = torch.nan
        loss[:, 4:, 25] = 2.0
        score = in_context_score(loss, Places(25, 5, 0))
        assert score.n == 16
        assert score.mean.tolist() == [2.0] * 3

    @pytest.mark.parametrize("places", [Places(30, 5, 0), Places(29, 5, 1), Places(20, 2, 3)])
    def test_none_where_no_text_reaches(self, places):
        assert in_context_score(torch.zeros(2, 16, 30), places) is None


class TestTexts:
    def test_documents_begin_with_their_own_bos_and_fill_the_context(self, folder):
        model = fresh(folder, 0)
        found = beginnings(model, 5, prepend_bos=True)
        assert found.tokens.shape == (5, model.cfg.n_ctx)
        assert (found.tokens[:, 0] == model.bos.id).all()
        texts = held_out()
        starts = [texts[i * len(texts) // 5] for i in range(5)]
        for row, text in zip(found.tokens, starts, strict=True):
            assert text.startswith(model.to_string(row[1:])[:-2])

    def test_all_documents_are_used_once(self, folder):
        tokens = beginnings(fresh(folder, 0), len(held_out()), prepend_bos=False).tokens
        assert len({tuple(row.tolist()) for row in tokens}) > 60

    @pytest.mark.parametrize("n", [0, 1000])
    def test_more_than_there_are_is_refused(self, folder, n):
        with pytest.raises(ValueError, match=f"{n} chapters; the held-out text has"):
            beginnings(fresh(folder, 0), n, prepend_bos=True)


def test_texts_that_are_not_all_there_are_no_curve(run):
    repeats = {i: run.repeats(i, SETTING) for i in (0, 1)}
    curves = summarise(STEPS, repeats, {0: run.texts(0, SETTING)}, PLACES)
    assert curves.held_out is None
    assert curves.indices == [0, 1]


def test_a_curve_that_fills_shows_its_ends_first():
    assert coarse_first(9) == [8, 0, 4, 2, 6, 1, 3, 5, 7]
    assert coarse_first(1) == [0]
    for n in (0, 2, 23):
        assert sorted(coarse_first(n)) == list(range(n))


def test_progress_may_stop_and_what_is_done_stays(run, folder):
    class Stop(Exception):
        pass

    def progress(fraction, stage):
        if "checkpoint 3" in stage:
            raise Stop

    with pytest.raises(Stop):
        dynamics(run, SETTING, PLACES, progress=progress)
    assert len(list(results_folder().glob("repeats-*"))) == 2
    Forbidden(checkpoints(str(folder))).repeats(1, SETTING)


def test_checkpoints_that_are_the_same_files_are_told(folder, tmp_path):
    """A run that saved the same weights under two more steps; one number changed, and they are others again."""
    copy = shutil.copytree(folder, tmp_path / "again")
    first, last = f"checkpoint-{STEPS[0]}", f"checkpoint-{STEPS[-1]}"
    shutil.copytree(copy / last, copy / f"checkpoint-{STEPS[-1] + 1}")
    shutil.copytree(copy / last, copy / f"checkpoint-{STEPS[-1] + 2}")
    shutil.copytree(copy / first, copy / f"checkpoint-{STEPS[-1] + 3}")
    for place in (copy / f"checkpoint-{STEPS[-1] + extra}" for extra in (1, 2, 3)):
        (place / "trainer_state.json").unlink(missing_ok=True)
    n = len(STEPS)
    run = TrainingRun(checkpoints(str(copy)))
    assert run.identical() == ((0, n + 2), (n - 1, n, n + 1))
    assert run.identical([0, 1, n]) == ()
    file = copy / f"checkpoint-{STEPS[-1] + 1}" / "model.safetensors"
    state = load_file(file)
    state["transformer.wte.weight"][0, 0] += 1
    save_file(state, file, metadata={"format": "pt"})
    assert TrainingRun(checkpoints(str(copy))).identical() == ((0, n + 2), (n - 1, n + 1))


@pytest.mark.parametrize("name", ["sink", "induction", "feeder_v", "prefix_matching", "direct_effect"])
def test_any_instrument_can_be_put_on_the_training_axis(run, folder, name):
    curves = instrument_dynamics(run, name, SETTING, [0, 3])
    assert (curves.indices, curves.labels) == ([0, 3], [STEPS[0], STEPS[3]])
    repeated = run.inputs(SETTING).repeated
    for place, index in enumerate((0, 3)):
        model = fresh(folder, index)
        one = instrument(name)
        sample = WEIGHTS if one.needs.samples == ("weights",) else repeats(repeated)
        want = one.measure(model, sample)
        close(curves.value[place], want.score.mean)
        assert curves.threshold[place].isnan() == (want.threshold is None)
        assert curves.above[place].isnan().all() == (want.above is None)
        assert curves.low[place].isnan().all() == (want.score.low is None)
    again = Forbidden(run.checkpoints)
    again._known = run._known
    close(instrument_dynamics(again, name, SETTING, [3]).value[0], curves.value[1])


def test_instruments_together_are_the_same_results_as_one_by_one(run, folder):
    names = ("induction", "previous", "entropy", "feeder_v", "ov_top10")
    together = run.instruments(2, names, SETTING)
    kept = sorted(path.name for path in results_folder().glob("instrument-*"))
    again = Forbidden(run.checkpoints).instruments(2, names, SETTING)
    for path in results_folder().glob("instrument-*"):
        path.unlink()
    alone = {name: run.measure_instrument(2, name, SETTING) for name in names}
    assert sorted(path.name for path in results_folder().glob("instrument-*")) == kept
    for name in names:
        for one, other in zip(again[name].scores, together[name].scores, strict=True):
            torch.testing.assert_close(one, other, atol=0, rtol=0, equal_nan=True)
        assert alone[name][1:] == together[name][1:]
        for one, other in zip(alone[name].scores, together[name].scores, strict=True):
            close(one, other)
    assert (together["induction"].n, together["feeder_v"].n) == (16, 1)


def test_what_an_instrument_takes_and_what_is_kept_of_it(run, folder):
    assert not run.has_instrument(1, "feeder_k", SETTING)
    run.measure_instrument(1, "feeder_k", SETTING)
    assert run.has_instrument(1, "feeder_k", SETTING)
    model, repeated = fresh(folder, 0), run.inputs(SETTING).repeated
    for name in ("sink", "feeder_k", "ablation_zero"):
        cost = cost_of(model.cfg, [instrument(name)], [repeats(repeated)])
        assert run.terms(name, SETTING) == ("", *cost)
    again = Forbidden(run.checkpoints)
    again._known = run._known
    assert again.terms("sink", SETTING) == run.terms("sink", SETTING)


def test_an_instrument_that_the_models_of_a_run_cannot_have_says_why(tmp_path, tokenizer):
    shallow = TrainingRun(checkpoints(str(write_run(tmp_path / "shallow", tokenizer, steps=STEPS[:2], n_layer=1))))
    assert shallow.terms("feeder_k", SETTING) == ("it needs 2 layers and this model has 1", 0, 0)


def test_an_instrument_at_a_checkpoint_that_is_not_finite_is_lost_by_name(tmp_path, tokenizer):
    broken = write_run(tmp_path / "broken", tokenizer, steps=STEPS[:3])
    spoil(broken, STEPS[1])
    run = TrainingRun(checkpoints(str(broken)))
    scores, lost, *_ = run.measure_instrument(1, "direct_effect", SETTING)
    assert scores is None
    assert lost.startswith(f"The checkpoint at {STEPS[1]} steps: ")
    assert run.measure_instrument(0, "direct_effect", SETTING).lost == ""


def curves_by_hand(value: list, above: list) -> InstrumentCurves:
    value, above = torch.tensor(value), torch.tensor(above)
    none = torch.full_like(value, torch.nan)
    places = list(range(len(value)))
    return InstrumentCurves(places, places, value, none, none, none, none[:, 0, 0], above)


def test_where_an_instrument_ends_and_since_when_it_is_above_chance():
    nan = float("nan")
    value = [[[nan, 0.1]], [[nan, 0.6]], [[nan, 0.5]]]
    end = instrument_end(curves_by_hand(value, [[[nan, 0.0]], [[nan, 1.0]], [[nan, 1.0]]]))
    assert (end.head, end.value, end.n_above, end.first_above) == (Head(0, 1), 0.5, 2, 1)
    never = instrument_end(curves_by_hand(value, [[[nan, 0.0]]] * 3))
    assert (never.n_above, never.first_above) == (0, None)
    unknown = instrument_end(curves_by_hand(value, [[[nan, nan]]] * 3))
    assert (unknown.n_above, unknown.first_above) == (None, None)
    both = curves_by_hand([[[-0.9, 0.5]]], [[[1.0, 0.0]]])
    assert (instrument_end(both).head, instrument_end(both, by_size=True).head) == (Head(0, 1), Head(0, 0))
    assert instrument_end(both, head=Head(0, 0)).n_above == 1
    with pytest.raises(ValueError, match="no head has a number"):
        instrument_end(curves_by_hand([[[nan, nan]]], [[[nan, nan]]]))


def test_heads_are_ordered_by_the_last_checkpoint():
    scores = torch.tensor([[[9.0, 0.0], [0.0, 0.0]], [[0.1, 0.3], [0.2, 0.3]]])
    assert heads_in_order(scores) == [(0, 1), (1, 1), (1, 0), (0, 0)]
    assert heads_in_order(scores.numpy(), 1) == [(0, 1)]
