"""The Ablation page: planted circuits through its own analyses, odd addresses and models, guesses, its Python."""

import contextlib
import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from lens import HookedTransformer
from lens.analysis.answer.head_inputs import Write
from lens.analysis.answer.self_repair import Interaction, Part
from lens.analysis.interventions import Intervention, Metric, Share, effect, faithfulness, head_sets, run_sweep
from lens.analysis.interventions.ablation import (
    Joint,
    Removed,
    Target,
    ablation,
    cells_of,
    share_of_gap,
    single_heads,
    size_of,
)
from lens.analysis.interventions.tasks import induction
from lens.analysis.names import Head
from lens.analysis.verdicts import Gap, Verdict
from lens.planted.layout import INDUCTION, PREVIOUS, SECOND
from lens.ui.pages.ablation import TABS, WHAT, repair, words
from lens.ui.pages.ablation.request import Result
from tests.ui.conftest import app_page, bound, fine, html, local

HOSTILE = "</script><img src=x onerror=alert(1)>"


def name(head: tuple[int, int]) -> str:
    return f"{head[0]}.{head[1]}"


def opened(**query: str) -> AppTest:
    return app_page("ablation", **{"model": "planted-induction"} | query).run()


@pytest.fixture
def tiny(tiny_folder):
    """``tiny(what="mlp", ...)``: the page with the tiny model open, few and short pairs, run once."""
    few = {"pairs": "3", "block": "4", "n": "5", "seqs": "3"}
    return lambda **query: local("ablation", tiny_folder, **few | query).run()


def told(at: AppTest) -> str:
    """The first notice, which is that of the result."""
    return next(part for part in fine(at).split("\n") if "lens-line notice" in part)


def changes(at: AppTest) -> dict[tuple[str, str], float]:
    """(way, set) → change, from the table of all numbers."""
    rows = at.dataframe[0].value
    return dict(zip(zip(rows["put"], rows["removed"]), rows["change"]))


@pytest.mark.parametrize("head", [INDUCTION, PREVIOUS])
def test_without_a_planted_head_the_second_copy_is_at_chance(head):
    at = opened(pins=name(head), more="table")
    assert "to 4.16: a change of 4.16" in told(at)
    assert "0 of 3 controls do as much" in told(at)
    found = changes(at)
    for put in words.REPLACEMENTS.values():
        assert found[put, name(head)] == pytest.approx(4.156, abs=0.01)
    assert sum(abs(value) > 0.01 for value in found.values()) == 3


def test_without_the_decoy_nothing_changes():
    at = opened(model="planted-decoy", pins=f"{name(INDUCTION)},{name(PREVIOUS)}", more="table")
    fine(at)
    assert max(map(abs, changes(at).values())) < 1e-3
    assert "No head" not in told(at)
    assert "of the way" not in told(at)


def test_with_no_pins_the_strongest_induction_head_is_removed_and_the_grid_finds_the_circuit():
    at = opened()
    shown = fine(at)
    assert any(f"the strongest induction head, {name(INDUCTION)}, is removed" in one.value for one in at.caption)
    assert "2 of 8 heads change it by more than the sampling of pairs would" in shown
    assert "Partial" not in shown


def test_redundant_heads_are_named_from_the_numbers():
    at = opened(model="planted-redundant", pins=f"{name(INDUCTION)},{name(SECOND)}", more="table")
    assert "They stand in for each other" in fine(at)
    series = opened(pins=f"{name(INDUCTION)},{name(PREVIOUS)}", more="table")
    assert "links of one path" in fine(series)


def test_the_numbers_and_the_python_are_those_of_the_analysis(tiny, tiny_folder):
    at = tiny(pins="1.2,2.0", more="table", keep="patterns")
    fine(at)
    model = HookedTransformer.from_pretrained(str(tiny_folder))
    task, cells = induction(model, n=4, n_pairs=3), cells_of(model.cfg, Target(((1, 2), (2, 0))))
    rows = at.dataframe[0].value
    for put, label in words.REPLACEMENTS.items():
        want = effect(run_sweep(model, ablation(task.pairs, task.metric, cells, put, frozen=True))).value
        np.testing.assert_allclose(rows.loc[rows["put"] == label, "change"], want, atol=1e-4)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(at.code[0].value, {})
    for put, label in words.REPLACEMENTS.items():
        printed = json.loads(out.getvalue().split(f"{put} effect:")[1].split(" nats")[0])
        np.testing.assert_allclose(rows.loc[rows["put"] == label, "change"], printed, atol=1e-4)


def python_of(at: AppTest) -> str:
    """What the exported script prints."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(at.code[0].value, {})
    return out.getvalue()


@pytest.mark.parametrize("more", ["grid", "tokens", "answers"])
def test_the_python_has_the_seed_the_way_and_the_tab_of_the_page(more):
    at = opened(pins=name(INDUCTION), more=more, put="zero", seed="3", sequence="2")
    shown, printed = fine(at), python_of(at)
    model = HookedTransformer.from_pretrained("planted-induction")
    task, cells = induction(model, n=10, seed=3), cells_of(model.cfg, Target((INDUCTION,)), 3)
    sweep = run_sweep(model, ablation(task.pairs, task.metric, cells, "other"))
    share = share_of_gap(sweep, 0, 3)
    assert f"this is {words.share_words(share)} of it" in shown
    assert f"other share of the way: {share}" in printed
    assert all(f"{put} interval:" in printed for put in words.REPLACEMENTS)
    if more == "grid":
        grid = run_sweep(model, single_heads(task.pairs, task.metric, "zero"))
        every = json.loads(printed.split("every head:")[1].split("\n")[0])
        np.testing.assert_allclose(every, effect(grid).value, atol=1e-4)
    if more == "answers":
        ranks = json.loads(printed.split("rank before and after:")[1])
        rows = at.dataframe[0].value
        assert [rows["rank before"].tolist(), rows["rank after"].tolist()] == ranks
    if more == "tokens":
        before, after = json.loads(printed.split("loss before and after:")[1].split("\n")[0])
        at_most = int(np.argmax(np.abs(np.subtract(after, before))))
        assert f"changes most at token {at_most + 1}," in shown
        assert f"from {words.number(before[at_most])} to {words.number(after[at_most])} nats" in shown


def test_the_grid_is_that_of_the_analysis(tiny, tiny_folder):
    model = HookedTransformer.from_pretrained(str(tiny_folder))
    task = induction(model, n=4, n_pairs=3)
    want = effect(run_sweep(model, single_heads(task.pairs, task.metric, "zero"))).value
    at = np.unravel_index(int(want.abs().argmax()), want.shape)
    shown = fine(tiny(put="zero", pins="0.0"))
    assert f"Largest: head {at[0]}.{at[1]} changes it by {words.number(float(want[at]))} nats" in shown
    assert "Too few pairs for an interval" in shown


@pytest.mark.parametrize("what", list(WHAT))
@pytest.mark.parametrize("more", list(TABS))
def test_every_tab_of_everything_that_can_be_removed(tiny, what, more):
    assert "lens-line notice" in fine(tiny(what=what, more=more, layer="1", head="3", put="mean", sequence="2"))


def test_the_planted_pair_is_enough_and_needed_and_a_third_head_is_idle():
    at = opened(more="set", members=f"{name(INDUCTION)}, {name(PREVIOUS)} 0.3", pins="0.0")
    shown = fine(at)
    assert "do 100% [100%, 100%] of what all heads do; 0 of 10 random sets of as many heads do as much" in shown
    assert "With the set removed 0% [0%, 0%] is left" in shown
    assert "0.3 does no more than that, as far as can be told: the set may not need it." in shown
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(at.code[0].value, {})
    assert "do 100% [100%, 100%] of what all heads do; 0 of 10 random sets" in out.getvalue()


def test_without_a_typed_list_the_set_is_what_is_removed_above():
    both = f"{name(INDUCTION)},{name(PREVIOUS)}"
    shown = fine(opened(more="set", pins=both, keep="patterns", put="zero"))
    model = HookedTransformer.from_pretrained("planted-induction")
    task = induction(model, n=10)
    zero = Intervention("z", "zero", "clean", ("patterns",))
    sets = head_sets(model.cfg, task.pairs, [INDUCTION, PREVIOUS], task.metric, zero)
    assert faithfulness(sets, run_sweep(model, sets.experiment)).sentence in shown


def test_a_set_of_few_pairs_has_no_shares(tiny):
    shown = fine(tiny(more="set", pins="1.2,2.0"))
    assert "3 pairs, at least 16 are needed" in shown
    assert "of what all heads do;" not in shown
    assert "Not computed because an MLP is removed above" in fine(tiny(more="set", what="mlp"))


def test_a_set_that_is_none_is_refused_in_words(tiny):
    assert "9.9: this model has layers 0" in fine(tiny(more="set", members="9.9"))
    assert "&#x27;&lt;img" in fine(tiny(more="set", members="<img src=x>"))
    every = ",".join(f"{layer}.{head}" for layer in range(3) for head in range(4))
    assert "the set holds every head there is" in fine(tiny(more="set", members=every))


def test_a_whole_layer_has_no_control(tiny):
    assert "No control: layer 1 has 0 other heads, and 4 would be needed." in told(tiny(what="layer", layer="1"))


def test_a_chosen_token_is_the_one_whose_answers_are_shown():
    at = opened(pins=name(INDUCTION), more="answers", token="14")
    shown = fine(at)
    rows = at.dataframe[0].value
    right = rows[rows["is"] == "right"]
    assert right["rank before"].item() == 1
    assert right["prob after"].item() == pytest.approx(1 / 64, abs=0.002)
    assert "The right answer" in shown
    assert any("position 14 of prompt 0" in one.value for one in at.caption)


def test_the_result_waits_for_a_guess():
    at = opened(predict="on", pins=name(INDUCTION))
    shown = fine(at)
    assert "lens-line notice" not in shown
    assert "once you have said what you expect" in shown
    next(one for one in at.button if one.label == "Next to nothing").click().run()
    assert "a change of 4.16" in told(at)
    assert "100% [100%, 100%] of the way, which is “breaks most of it”" in at.info[0].value
    bound(at.toggle, "predict").set_value(False).run()
    assert not at.info
    assert "predict" not in at.query_params


def test_attention_only_models_have_no_mlp_to_remove():
    assert "so there is no MLP to remove" in fine(opened(what="mlp"))


def test_bad_values_become_defaults_with_notes(tiny):
    at = tiny(what="x", put="y", keep="z", more="w", pins="9.9", task="?", sequence="77", token="-1", metric="q")
    shown = fine(at)
    for sentence in ("What must be one of", "Put must be one of", "no head 9.9", "Task must be one of"):
        assert sentence in shown
    assert "lens-line notice" in shown


def test_hostile_text_is_text(tiny):
    assert "<img" not in fine(tiny(prompt=HOSTILE, pins="1.1", more="tokens"))
    assert "<img" not in html(tiny(task="own", own=f"{HOSTILE} a | {HOSTILE} e | a | e", pins="1.1"))


def removed_by(share: float | None, gap: Gap) -> SimpleNamespace:
    """One way of removing with this share of the way."""
    return SimpleNamespace(share=None if share is None else Share(share, share - 0.01, share + 0.01), gap=gap)


THERE = Gap(2.0, 1.9, 2.1, 16, 1e-5, Verdict("found", "the two runs differ by 2"))
NOWHERE = Gap(0.1, -0.1, 0.3, 16, 1e-5, Verdict("none", "the gap between the two runs may be 0"))


@pytest.mark.parametrize(
    ("share", "expected"),
    [(1.2, "most"), (0.5, "most"), (0.3, "some"), (0.05, "nothing"), (-0.05, "nothing"), (-0.4, "better")],
)
def test_guesses_cover_every_share(share, expected):
    assert size_of(share) == expected
    assert "Right." in words.verdict(expected, removed_by(share, THERE))
    assert "cannot be judged: the gap between the two runs may be 0" in words.verdict(
        expected, removed_by(None, NOWHERE)
    )


def way(values: list[float], gap: Gap, width: float = 0.05) -> Removed:
    """One way of removing two heads: together, each alone."""
    value = np.array(values)
    share = Share(value[0] / gap.mean, (value[0] - width) / gap.mean, (value[0] + width) / gap.mean)
    return Removed(
        value, value - width, value + width, 16, "", np.zeros(16), gap, share if gap.found else None, gap.rounding
    )


def found_with(gap: Gap, zero: float, joint: Joint | None) -> Result:
    cells = cells_of(HookedTransformer.from_pretrained("planted-induction").cfg, Target((INDUCTION, PREVIOUS)))
    removed = {"other": way([1.0, 0.1, 0.1], gap), "zero": way([zero, 0.1, 0.1], gap)}
    return Result(cells, removed, joint, "loss", "nats")


def test_what_needs_a_gap_is_not_said_without_one():
    """The same effects, once where the two runs differ and once where they may not."""
    joint = Joint(1.0, 0.2, 0.8, 0.7, 0.9)
    for gap in (THERE, NOWHERE):
        one = found_with(gap, 0.1, joint)
        assert ("disagree" in words.ways_words(one)) == gap.found
        assert ("stand in for each other" in words.backup_words(one)) == gap.found
        assert ("of the way" in words.grid_words(np.array([[1.0]]), None, gap, "nats")) == gap.found
        assert ("Partial" in words.backup_words(one._replace(joint=None))) == gap.found
        assert ("the whole way" in words.notice(one).lower()) == gap.found
    near = found_with(THERE, 0.97, None)  # another word for it, the same number within its interval
    assert words.ways_words(near) == ""


def test_rounding_is_no_effect():
    text = words.grid_words(np.array([[4e-9, 0.0]]), np.array([[1e-9, 1e-9]]), THERE, "nats")
    assert text.startswith("No head changes it by more than rounding")


def test_self_repair_names_who_compensates_and_its_python_says_the_same():
    both = f"{name(INDUCTION)},{name(SECOND)}"
    at = opened(model="planted-redundant", more="repair", pins=both, layer="1", head="2")
    shown = fine(at)
    assert f"2 of 8 heads are compensated for beyond chance ({name(SECOND)}, {name(INDUCTION)})" in shown
    assert "The largest parts: final scale −0.35" in shown
    assert "They compensate for 100% [100%, 100%] of its direct effect." in shown
    assert "beyond the sum. More than the sum; in this unit that can be the curve of the softmax" in shown
    printed = python_of(at)
    assert "compensated for: [[1, 0], [1, 2]]" in printed
    assert "final scale: -0.35" in printed
    assert "Interaction(heads=(Head(layer=1, head=2), Head(layer=1, head=0)), together=4.15" in printed


def test_nothing_repairs_the_planted_head_and_a_link_of_its_path_works_through_it():
    shown = fine(opened(more="repair", pins=f"{name(PREVIOUS)},{name(INDUCTION)}"))
    assert "None of 8 heads is compensated for beyond chance." in shown
    assert f"For 1 other head what comes after has an effect beyond chance ({name(PREVIOUS)})" in shown
    assert "they are links of one path, and losing one already loses the other" in shown


def test_the_largest_parts_are_named_with_intervals_and_whether_they_are_chance():
    parts = (Part(None, -0.5, -0.6, -0.4, True), Part(Write("head", 1, 3), 0.1, -0.2, 0.4, False))
    assert (
        repair.parts_words(parts)
        == "The largest parts: final scale −0.50 [−0.60, −0.40], head 1.3 +0.10 [−0.20, 0.40] (within chance). "
    )
    assert repair.parts_words(()) == ""


def test_heads_stand_in_for_each_other_in_logits_and_the_softmax_may_bend_other_units():
    found = SimpleNamespace(gap=SimpleNamespace(found=True, mean=4.0))
    heads = (Head(1, 0), Head(1, 2))
    more, less = (Interaction(heads, 1.0, 1.0 - extra, extra, None, None, True) for extra in (0.8, -0.8))
    assert "They stand in for each other" in repair.pair_words((more,), found, Metric("logit_diff"))
    for kind in ("loss", "log_prob", "prob"):
        said = repair.pair_words((more,), found, Metric(kind))
        assert "More than the sum; in this unit that can be the curve of the softmax." in said
    assert "links of one path" in repair.pair_words((less,), found, Metric("loss"))
    assert "links of one path" not in repair.pair_words((less,), found, Metric("prob"))


def test_self_repair_without_a_verdict_or_parts_says_why(tiny):
    shown = fine(tiny(more="repair", pins="1.2,2.0"))
    assert "cannot be told: 3 pairs, at least 16 are needed" in shown
    assert "Too few pairs of prompts for a verdict." in shown
    assert "Pin two heads" in fine(tiny(more="repair"))
    assert "Not computed because the KL divergence is not read along single paths" in fine(
        tiny(more="repair", metric="kl")
    )
