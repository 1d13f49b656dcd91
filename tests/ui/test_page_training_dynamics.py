"""The Training dynamics page: numbers against the analysis itself, checkpoints opened from it, odd addresses."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from lens import HookedTransformer
from lens.analysis import training_run
from lens.analysis.checkpoint import Setting
from lens.analysis.dynamics import HeadCurve, Places, dynamics, instrument_dynamics, instrument_end
from lens.analysis.event_order import INDUCTION, LOSS, PREVIOUS, Order, Orders, event_dynamics
from lens.analysis.instruments.registry import by_link, instrument
from lens.analysis.loss_space import paths
from lens.analysis.phase_change import Birth
from lens.analysis.token_learning import acquired, token_dynamics
from lens.analysis.training_run import TrainingRun
from lens.analysis.verdicts import Verdict
from lens.load.checkpoints import checkpoints
from lens.load.training_records import training_runs
from lens.results import results_folder
from lens.texts import passage
from lens.ui import checkpoint_runs
from lens.ui.calls import result_store
from lens.ui.pages.training_dynamics.order import order_words
from lens.ui.pages.training_dynamics.shipped_runs import grouped
from lens.ui.pages.training_dynamics.shipped_runs import notice as runs_notice
from lens.ui.shared.chain.was_born import birth_words as told
from tests.analysis.runs import STEPS, spoil, write_run
from tests.helpers import hf_gpt2
from tests.ui.conftest import app_page, bound, fine, html, markdown, printed, python_of

HOSTILE = "</script><img src=x onerror=alert(1)> a a"
SMALL = {"n": "12", "seqs": "16", "texts": "4", "late": "40", "early": "8", "around": "2"}
SETTING, PLACES = Setting(n=12, seqs=16, texts=4), Places(40, 8, 2)


@pytest.fixture(autouse=True)
def kept(tmp_path, monkeypatch):
    monkeypatch.setenv("LENS_CACHE", str(tmp_path / "cache"))
    result_store.clear()  # a result of another test lies in another folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory, tokenizer) -> dict[str, str]:
    root = tmp_path_factory.mktemp("runs")
    small = write_run(root / "small", tokenizer, steps=STEPS[:3], n_layer=1)
    return {"local:run": str(write_run(root / "run", tokenizer)), "local:small": str(small)}


@pytest.fixture
def page(folders):
    """``page(model="local:run", ...)``: the page with the runs of this session, run once."""

    def build(**query: str) -> AppTest:
        at = app_page("training_dynamics", **SMALL | query)
        at.session_state["lens:paths"] = folders
        return at.run()

    return build


def test_the_table_is_that_of_the_analysis(page, folders):
    at = page(model="local:run", more="table", pins="1.2")
    shown = fine(at)
    curves = dynamics(TrainingRun(checkpoints(folders["local:run"])), SETTING, PLACES)
    table = at.dataframe[0].value
    assert list(table["steps"]) == list(STEPS)
    np.testing.assert_allclose(table["prefix − control"], curves.effect[:, 1, 2], atol=1e-6)
    np.testing.assert_allclose(table["held-out loss"], curves.held_out.mean, atol=1e-6)
    np.testing.assert_allclose(table["in-context"], curves.in_context.mean, atol=1e-6)
    np.testing.assert_allclose(table["second copy high"], curves.second_copy.high, atol=1e-6)
    assert "Checkpoints: run 5 of 5" in shown
    assert "Training loss of run is not known because" in shown


def test_the_python_of_the_export_says_the_same(page, folders):
    at = page(model="local:run", seed="3")
    fine(at)
    curves = dynamics(TrainingRun(checkpoints(folders["local:run"])), SETTING._replace(seed=3), PLACES)
    assert curves.window.reason in printed(at.code[0].value)


def test_a_checkpoint_that_is_not_finite_is_left_out_by_name(tmp_path, tokenizer, page, folders, monkeypatch):
    broken = write_run(tmp_path / "broken", tokenizer, steps=STEPS[:3])
    spoil(broken, STEPS[1])
    monkeypatch.setitem(folders, "local:broken", str(broken))
    at = page(model="local:broken", more="table")
    shown = fine(at)
    assert list(at.dataframe[0].value["steps"]) == [STEPS[0], STEPS[2]]
    assert f"Left out of the curves: The checkpoint at {STEPS[1]} steps:" in shown
    assert "computes NaN in layer 1 (blocks.1.mlp.hook_pre), first at position 0" in shown


def test_two_runs_stand_beside_each_other(page):
    at = page(model="local:run", beside="local:small", more="table")
    shown = fine(at)
    assert "run: phase change" in shown
    assert "small: phase change" in shown
    assert set(at.dataframe[0].value["run"]) == {"run", "small"}


def test_a_model_without_checkpoints_says_so_and_offers_those_that_have(page):
    at = page(model="smollm2-135m-instruct")
    assert "No checkpoints of smollm2-135m-instruct are known" in fine(at)
    at.button(key="run:local:run").click().run()
    assert at.query_params["model"] in ("local:run", ["local:run"])
    assert "run: phase change" in fine(at)


def test_without_any_run_it_says_what_to_do(folders):
    at = app_page("training_dynamics", model="smollm2-135m-instruct").run()
    fine(at)
    assert not at.get("plotly_chart")


def test_a_bad_address_is_answered_with_sentences(page):
    at = page(model="local:run", beside="../etc,local:gone", axis="cubic", born="9", revision="checkpoint-7",
              first="77", last="x", pins="9.9", play="video", late="900")  # fmt: skip
    shown = fine(at)
    for words in ("left out", "axis must be one of", "born 9 is outside", "has no checkpoint", "no head 9.9",
                  "first &#x27;77&#x27; is not offered", "play must be one of"):  # fmt: skip
        assert words in shown.lower()
    assert "In-context score not computed because" in shown


def test_the_checkpoint_is_the_one_that_other_pages_open(page, folders):
    at = page(model="local:run")
    at.selectbox(key="view:revision").set_value("checkpoint-40").run()
    fine(at)
    assert at.query_params["revision"] in ("checkpoint-40", ["checkpoint-40"])
    at.switch_page("pages/head_scores.py").run()
    fine(at)
    model = HookedTransformer.from_pretrained(folders["local:run"], checkpoint_value=40)
    from lens.analysis.head_scores import head_scores
    from lens.analysis.random_tokens import repeated_tokens

    want = head_scores(model, repeated_tokens(model, 12, 16, 0, model.bos.prepend))["induction"]
    table = at.dataframe[0].value.sort_values(["layer", "index"])
    np.testing.assert_allclose(table["score"], want.score.mean.ravel(), atol=1e-6)


def test_a_second_visit_reads_the_disk_and_opens_no_model(page, monkeypatch):
    first = fine(page(model="local:run"))
    result_store.clear()
    monkeypatch.setattr(TrainingRun, "_opened", lambda self: pytest.fail("the model was opened"))
    assert fine(page(model="local:run")).split("lens-line")[1:] == first.split("lens-line")[1:]


def test_the_prompt_plays_as_text(page):
    at = page(model="local:run", play="prompt", prompt=HOSTILE)
    fine(at)
    proto = at.get("plotly_chart")[1].proto
    assert "&lt;/script&gt;" in proto.spec or "&lt;" in proto.spec
    assert "<img" not in proto.spec
    at = page(model="local:run", play="prompt", prompt="word " * 300)
    assert "the first 64 play" in fine(at)
    at = page(model="local:run", play="prompt", prompt=" ")
    assert "The prompt is empty" in at.info[0].value


def test_a_phase_change_by_hand(page):
    at = page(model="local:run", first="1", last="3")
    assert "run: phase change from step 10 to step 100 (set by hand)" in fine(at)
    at = page(model="local:run", first="3", last="1")
    assert "must end after it begins" in fine(at)


def test_n_is_moved_into_the_context_of_all_runs(page):
    at = page(model="local:run", n="500")
    assert "N 500 is outside 2 to 31 here: showing 31" in fine(at)


def test_a_visitor_of_a_hosted_app_gets_evenly_spread_checkpoints(monkeypatch):
    monkeypatch.setenv("LENS_HOSTED", "1")
    long, short = SimpleNamespace(checkpoints=range(154)), SimpleNamespace(checkpoints=range(20))
    indices = checkpoint_runs.chosen(long)
    assert (len(indices), indices[0], indices[-1]) == (64, 0, 153)
    assert set(np.diff(indices)) <= {2, 3}
    assert checkpoint_runs.chosen(short) == list(range(20))


def test_a_shipped_run_says_how_it_was_made_and_shows_the_others(page):
    at = page(model="lens-2l", more="runs", seqs="2", texts="1")
    shown = fine(at)
    assert "lens-2l: phase change cannot be said, because 2 sequences; a verdict needs at least 16" in shown
    assert "Muon (rate 0.02) on the attention matrices" in shown
    assert "10% of contexts repeat one of their own passages" in shown
    rows = [row for row in training_runs() if row.model == "lens-2l" and row.shipped]
    assert f"(shipped) {rows[-1].prefix_matching:.2f}" in shown
    assert next(iter(at.dataframe[0].value["tokens"])) == rows[-1].tokens
    assert "nothing is known of other seeds" in fine(page(model="local:run", more="runs"))


def test_runs_are_kept_apart_by_seed_and_repeats():
    row = training_runs()[0]._replace(seed=0)
    others = [row._replace(seed=1, shipped=False), row._replace(repeat_share=0.0, shipped=False, tokens=5), row]
    found = grouped([*others, row._replace(repeat_share=0.0, shipped=False, tokens=2)])
    assert [len(rows) for rows in found] == [1, 2, 1]
    assert found[0][0].shipped
    assert [one.tokens for one in found[1]] == [2, 5]
    assert "seed 0, no repeats" in runs_notice(found)
    assert "No other run of it" in runs_notice(found[:1])


class TestBirth:
    page = """
from lens.ui.frame import frame
from lens.ui.shared.chain.was_born import birth
import streamlit as st
with frame("Home", question="When was it born?") as view:
    st.write(birth(view, view["model"], (1, 2)).words)
"""

    def test_the_chain_says_why_there_is_none(self, app, folders):
        at = app(self.page)
        at.query_params["model"] = "smollm2-135m-instruct"
        assert "Not computed because no checkpoints of smollm2" in at.run().markdown[-1].value

    def test_the_chain_reads_the_scores_alone(self, app, folders):
        at = app(self.page)
        at.query_params["model"] = "local:run"
        at.session_state["lens:paths"] = folders
        words = at.run().markdown[-1].value
        assert "Head 1.2 of run was not born as an induction head in its training: the score stays below 0.1" in words
        assert {path.name.split("-")[0] for path in results_folder().iterdir()} == {"shape", "inputs", "repeats"}

    def test_the_interval_in_words(self):
        again = HeadCurve(None, None, Birth(1, 2, 0.1, 3, "", "found"))
        names = ["step 0", "step 10", "step 20", "step 30"]
        born = told("run", (1, 2), again, names)
        assert born.interval == "between step 10 and step 20"
        assert "below again at step 30" in born.words
        early = told("run", (1, 2), HeadCurve(None, None, Birth(None, 0, 0.1, None, "above", "found")), names)
        assert early.interval == "at or before step 0"
        never = told("run", (1, 2), HeadCurve(None, None, Birth(None, None, 0.1, None, "low", "none")), names)
        assert (never.interval, never.reason) == ("", "never: low")


def test_checkpoints_that_are_the_same_files_are_said_so(page, folders, tmp_path, monkeypatch):
    copy = shutil.copytree(folders["local:small"], tmp_path / "twins")
    shutil.copytree(copy / f"checkpoint-{STEPS[2]}", copy / "checkpoint-90")
    said = f"Checkpoints 2 (step {STEPS[2]}) and 3 (step 90) of small are the same files, so their numbers are equal."
    assert said not in html(page(model="local:small"))
    monkeypatch.setitem(folders, "local:small", str(copy))
    assert said in html(page(model="local:small"))


def panels(at: AppTest) -> str:
    """The figure of all curves, as the browser gets it."""
    return at.get("plotly_chart")[0].proto.spec


def test_the_list_of_instruments_is_the_registry(page):
    at = page(model="local:run")
    fine(at)
    written = [f"{link.capitalize()} · {one.title}" for link, group in by_link().items() for one in group]
    assert list(bound(at.selectbox, "score").options) == written
    assert "Induction, each head" not in panels(at)  # it has its own panel, minus its control


@pytest.mark.parametrize("name", ["sink", "duplicate", "feeder_k", "ablation_zero"])
def test_an_instrument_stands_above_the_curves_with_the_numbers_of_the_analysis(page, folders, name):
    at = page(model="local:run", score=name, pins="1.2", more="table")
    shown = fine(at)
    one = instrument(name)
    assert f"{one.title}, each head" in panels(at)
    assert f"{one.title} of run: head" in shown
    want = instrument_dynamics(TrainingRun(checkpoints(folders["local:run"])), name, SETTING)
    table = at.dataframe[0].value
    np.testing.assert_allclose(table[one.title.lower()], want.value[:, 1, 2], atol=1e-6)
    assert str(instrument_end(want, by_size=one.scale == "two-sided")) in printed(at.code[0].value)


def test_an_instrument_that_takes_long_waits_for_a_click_and_is_kept(page):
    at = page(model="lens-2l", score="ov_residual", n="5", seqs="2", texts="1")
    fine(at)
    assert "OV copying, residual circuit, each head" not in panels(at)
    (button,) = [one for one in at.button if one.label.startswith("Compute, about")]
    assert "Σλ / Σ|λ| over the eigenvalues" in markdown(at)
    assert button.key.startswith("start:training-ov_residual")


def test_an_instrument_that_a_run_cannot_have_says_why_and_others_have_it(page):
    at = page(model="local:run", beside="local:small", score="feeder_v")
    shown = fine(at)
    assert "Not computed because it needs 2 layers and this model has 1." in shown
    assert "Strongest feeder by V, each head" in panels(at)
    assert "Strongest feeder by V of run: head 1." in shown


def test_an_instrument_is_read_from_disk_the_second_time(page, monkeypatch):
    first = fine(page(model="local:run", score="prefix_matching"))
    result_store.clear()
    monkeypatch.setattr(TrainingRun, "_opened", lambda self: pytest.fail("the model was opened"))
    again = fine(page(model="local:run", score="prefix_matching"))
    assert again.split("lens-line")[1:] == first.split("lens-line")[1:]


def tab(page, name: str, **query: str) -> tuple[AppTest, str]:
    """The page with a tab open, and what the Python that the tab offers prints."""
    at = page(model="local:run", more=name, **query)
    fine(at)
    return at, printed(python_of(at)[1])


@pytest.mark.parametrize("score", ["induction", "previous", "duplicate"])
def test_every_head_at_every_checkpoint_with_the_numbers_of_the_analysis(page, folders, score):
    at, said = tab(page, "heads", score=score)
    run = TrainingRun(checkpoints(folders["local:run"]))
    curves = dynamics(run, SETTING, PLACES)
    values = {"induction": curves.effect, "previous": curves.previous}.get(score)
    values = instrument_dynamics(run, score, SETTING).value if values is None else values
    assert said == f"{values[-1]}\n"
    place, layer, head = np.unravel_index(int(values.argmax()), values.shape)
    drawn = html(at)
    assert f"of head {layer}.{head} at step {STEPS[place]}" in drawn
    assert "of every head of run" in at.get("plotly_chart")[2].proto.spec


def test_a_number_that_no_run_has_is_said_where_its_map_would_stand(page):
    shown = fine(page(model="local:small", score="feeder_v", more="heads"))
    assert "Not computed because no run here has strongest feeder by v, or it is not measured yet" in shown


def test_a_text_token_by_token_with_the_numbers_of_the_analysis(page, folders):
    at, said = tab(page, "tokens", before="1", after="3")
    run = TrainingRun(checkpoints(folders["local:run"]))
    read = run.read(passage(), None, 1024)
    curves = token_dynamics(run, read.tokens)
    assert str(curves.loss[3] - curves.loss[1]) in said
    assert str(acquired(curves)) in said
    drawn = html(at)
    strip = next(one.proto.json for one in at.get("bidi_component") if "lens-strip" in one.proto.json)
    assert "change of the loss from step 10 to step 100 (nats)" in strip
    before, after = curves.loss[1].mean(), curves.loss[3].mean()
    assert f"goes from {before:.2f} to {after:.2f} nats" in drawn
    assert any(one.value.startswith("The first 64 of") for one in at.caption)


def test_a_prompt_is_read_token_by_token_as_text(page):
    at = page(model="local:run", more="tokens", text="prompt", prompt=HOSTILE, token="900")
    shown = fine(at)
    assert "<img" not in shown
    assert "Token 900 does not exist in this text" in shown
    assert "token" not in at.query_params
    assert "The prompt is empty" in page(model="local:run", more="tokens", text="prompt", prompt=" ").info[0].value


def test_the_order_of_events_with_the_numbers_of_the_analysis(page, folders):
    at, said = tab(page, "order", born="0.001")
    orders = event_dynamics(TrainingRun(checkpoints(folders["local:run"])), SETTING, threshold=0.001)
    for event in orders.events:
        assert f"{event.name} {event.birth.last_below} {event.birth.first_above} {event.head}" in said
    for pair in orders.pairs:
        assert f"{pair.first} {pair.second} {pair.before} {pair.after} {pair.verdict.state}" in said
    assert "Order of events, run" in at.get("plotly_chart")[2].proto.spec


def test_untrained_weights_have_no_order_of_events(page):
    shown = fine(page(model="local:run", more="order"))
    assert "previous-token head: none, because the score stays below 0.1" in shown
    assert "What is not there has no order" in shown
    assert "came before" not in shown
    few = fine(page(model="local:run", more="order", seqs="8"))
    assert "loss drop: cannot be said, because 8 sequences" in few
    assert "came first cannot be told: it is not known when both were" in few


def test_an_order_in_words():
    level = 0.95
    pairs = [
        Order(PREVIOUS, INDUCTION, 0.99, 0.0, 0.01, Verdict("found", "")),
        Order(INDUCTION, LOSS, 0.0, 1.0, 0.0, Verdict("found", "")),
        Order(PREVIOUS, LOSS, 0.2, 0.1, 0.7, Verdict("unknown", "")),
    ]
    assert order_words(Orders((), tuple(pairs), 0.1, 16, level)) == (
        "In this run the previous-token head came before the induction head (in 99.0% of resamples), the loss drop "
        "before the induction head (in 100.0% of resamples). Whether the previous-token head or the loss drop came "
        "first cannot be told: first in 20% and 10% of resamples, neither in 70%."
    )


def test_paths_of_losses_in_one_plane(page, folders):
    at, said = tab(page, "paths", beside="local:small", texts="36", plane="all")
    losses = {}
    for name in ("local:run", "local:small"):
        run = TrainingRun(checkpoints(folders[name]))
        texts = [run.texts(index, SETTING._replace(texts=36)) for index in range(len(run.checkpoints))]
        losses[folders[name]] = np.stack([one.loss.flatten().numpy() for one in texts])
    found = paths(losses)
    assert said.splitlines()[0] == f"{found.explained} {found.n_tokens}"
    share = found.explained[0]
    assert f"over 8 checkpoints the first component holds {share:.0%}" in html(at)
    without, _ = tab(page, "paths", beside="local:small", texts="36")
    assert "over 6 checkpoints" in html(without)  # both begin at step 0


def test_paths_need_many_tokens_and_many_checkpoints(page):
    shown = fine(page(model="local:run", more="paths"))
    assert "252 tokens are predicted by every checkpoint of every run, and at least 2,000 are wanted" in shown


@pytest.mark.parametrize(
    ("name", "said"),
    [("tokens", "has no tokenizer, so it cannot read a text"), ("paths", "has not read the held-out text")],
)
def test_a_run_without_a_tokenizer_has_tabs_that_say_so(tmp_path, page, folders, monkeypatch, name, said):
    for step in (1, 2):
        hf_gpt2().save_pretrained(tmp_path / "mute" / f"checkpoint-{step}")
    monkeypatch.setitem(folders, "local:mute", str(tmp_path / "mute"))
    assert f"Not computed because mute {said}" in fine(page(model="local:mute", more=name, n="10"))


@pytest.mark.parametrize("name", ["tokens", "order", "paths"])
def test_a_broken_checkpoint_is_left_out_of_every_tab(tmp_path, tokenizer, page, folders, monkeypatch, name):
    broken = write_run(tmp_path / "broken", tokenizer, steps=STEPS[:4])
    spoil(broken, STEPS[1])
    monkeypatch.setitem(folders, "local:broken", str(broken))
    at = page(model="local:broken", more=name, texts="36", plane="all")
    shown = fine(at)
    assert shown.count(f"Left out of the curves: The checkpoint at {STEPS[1]} steps:") == 1
    assert len(at.get("plotly_chart")) == 3
    assert "[0, 2, 3]" in python_of(at)[1]


def test_two_checkpoints_that_are_the_same_files_change_no_token(page, folders, tmp_path, monkeypatch):
    copy = shutil.copytree(folders["local:small"], tmp_path / "twins")
    shutil.copytree(copy / f"checkpoint-{STEPS[2]}", copy / "checkpoint-90")
    monkeypatch.setitem(folders, "local:small", str(copy))
    shown = fine(page(model="local:small", more="tokens", before="2", after="3"))
    assert f"step {STEPS[2]} and step 90 of small are the same files, so no loss changes" in shown
    assert "Of those that repeat" not in shown


@pytest.mark.parametrize("name", ["tokens", "order"])
def test_a_second_visit_of_a_tab_computes_nothing(page, monkeypatch, name):
    query = {"model": "local:run", "more": name, "texts": "36"}
    first = fine(page(**query))
    for one in ("measure_tokens", "measure_sequences", "measure_repeats", "measure_texts"):
        monkeypatch.setattr(training_run, one, lambda *args: pytest.fail("it was measured again"))
    result_store.clear()
    assert fine(page(**query)).split("lens-line")[1:] == first.split("lens-line")[1:]
