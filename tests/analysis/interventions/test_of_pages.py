"""What pages read from experiments: cells by name, one prompt alone, tables, any work group by group, tasks by size."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lens.analysis.interventions import (
    Experiment,
    Grid,
    Intervention,
    Metric,
    Pairs,
    Path,
    Sender,
    cell_change,
    faithfulness,
    head_sets,
    kinds_for,
    path_patch,
    run_sweep,
    senders_in_order,
)
from lens.analysis.interventions.ablation import Target, ablation, cells_of, removal_rows, removed
from lens.analysis.interventions.head_sets import share_rows
from lens.analysis.interventions.map import head_of, place_of, reasons
from lens.analysis.interventions.one_prompt import answer_kinds, answers_at, one_prompt
from lens.analysis.interventions.path import receivers_of
from lens.analysis.interventions.plan import STATUS
from lens.analysis.interventions.readers import Reader
from lens.analysis.interventions.tasks import TASKS, PromptPair, check, induction, repeated, task_of
from lens.analysis.interventions.work import joined, outline_of, runs_of
from lens.analysis.least import MIN_LEVELS
from lens.analysis.names import Head
from lens.hooked import HookedTransformer
from lens.planted.layout import INDUCTION, PREVIOUS
from tests.analysis.interventions.test_exact import CLEAN, PAIRS
from tests.analysis.shaken import GROUPED, make_model

GRIDS = {
    "resid_pre": Grid(("layer", "pos")),
    "z": Grid(("layer", "head")),
    "k": Grid(("layer", "head")),
    "pattern": Grid(("head", "pos"), layer=1),
}


@pytest.fixture(scope="module")
def model():
    return make_model(**GROUPED)


@pytest.mark.parametrize("site", list(GRIDS))
def test_the_place_of_a_cell_gives_its_value_again(model, site):
    sweep = run_sweep(model, Experiment(PAIRS, Intervention(site), GRIDS[site], Metric("logit_diff")))
    cell = (1, 1)
    place = place_of(sweep, cell)
    alone = run_sweep(model, replace(sweep.experiment, grid=Grid(sets=((place,),))))
    torch.testing.assert_close(alone.values[0], sweep.values[cell], equal_nan=True)
    assert head_of(sweep, cell) == {"resid_pre": None, "k": None, "z": Head(1, 1), "pattern": Head(1, 1)}[site]
    assert sweep.complete
    assert not sweep._replace(values=torch.full_like(sweep.values, torch.nan)).complete


def test_a_cell_has_a_reason_only_where_no_pair_needs_it():
    status = np.array([[[0, 1], [1, 1], [2, 3]]], np.uint8)
    assert reasons(status) == [["", STATUS[1], STATUS[2]]]


@pytest.mark.parametrize("work", ["sweep", "path"])
def test_any_work_is_that_of_its_own_engine_and_nothing_is_known_without_groups(model, work):
    if work == "sweep":
        one = Experiment(PAIRS, Intervention("z"), Grid(("layer", "head")))
        want = run_sweep(model, one).values
    else:
        one = Path(PAIRS, "q", ((2, 1),))
        want = path_patch(model, one).heads
    outline = outline_of(model, one)
    groups = [runs_of(group, model, one) for group in range(outline.n_groups)]
    found, empty = joined(outline.empty, groups), joined(outline.empty, [])
    torch.testing.assert_close(found.values if work == "sweep" else found.heads, want, equal_nan=True)
    assert torch.isnan(empty.values if work == "sweep" else empty.heads).any()


@pytest.mark.parametrize("metric", [Metric("kl"), Metric("loss", "all"), Metric("kl", "all"), Metric("kl", (1, -2))])
def test_a_metric_is_read_where_it_says(model, metric):
    read = Reader(model, PAIRS, "clean", metric).read
    for row, ids in zip(read, CLEAN):
        assert sorted(metric.positions(len(ids))) == row.nonzero()[:, 0].tolist()


@pytest.mark.parametrize("put", ["other", "mean", "zero"])
def test_one_prompt_alone_changes_as_it_does_among_the_others(model, put):
    cells = cells_of(model.cfg, Target(((1, 2), (2, 0))))
    experiment, pair = ablation(PAIRS, Metric("log_prob"), cells, put), 1
    whole = cell_change(model, experiment, cells.target.cell, pair)
    last = len(PAIRS.clean[pair]) - 1
    prompt = one_prompt(experiment, pair, last)
    alone = cell_change(model, prompt.experiment, cells.target.cell, prompt.pair)
    assert alone.top.tolist() == whole.top.tolist()
    torch.testing.assert_close(alone.logit, whole.logit)
    assert len(prompt.experiment.pairs) == (len(PAIRS) if put == "mean" else 1)
    uncut = one_prompt(experiment, pair)
    torch.testing.assert_close(cell_change(model, uncut.experiment, cells.target.cell, uncut.pair).loss, whole.loss)


def test_answers_before_the_end_are_the_prompts_own():
    assert answers_at(PAIRS, 1, len(CLEAN[1]) - 1) == ((10, 11), (22,))
    assert answers_at(PAIRS, 1, 0) == ((CLEAN[1][1],), ())
    assert answers_at(Pairs(((1, 2),), ((1, 3),)), 0, 1) == ((), ())
    assert answer_kinds(PAIRS, 1, (22, 5, 11)) == ["wrong", "", "right"]
    assert answer_kinds(PAIRS, 1, (22, CLEAN[1][1]), 0) == ["", "right"]


def test_a_metric_is_offered_for_pairs_that_have_what_it_needs():
    assert {"logit_diff", "prob", "loss", "kl"} <= set(kinds_for(PAIRS))
    assert "logit_diff" not in kinds_for(replace(PAIRS, wrong=((20,), (), (23,))))
    assert {"log_prob", "rank"}.isdisjoint(kinds_for(replace(PAIRS, answers=(), wrong=())))


def test_tables_have_a_row_for_every_set(model):
    task = repeated(model, n=4, n_pairs=16)
    cells = cells_of(model.cfg, Target(((1, 2), (2, 0))))
    way = removed(run_sweep(model, ablation(task.pairs, task.metric, cells)))
    rows = removal_rows(cells, {"other": way}, "logits")
    assert [row["change"] for row in rows] == pytest.approx(way.value.tolist())
    assert [row["role"] for row in rows] == ["chosen", "alone", "alone", *["control"] * len(cells.controls)]
    assert rows[0] | {"removed": "1.2, 2.0", "put": "other", "unit": "logits", "n": 16} == rows[0]


def test_the_table_of_a_set_has_a_row_for_each_of_its_runs():
    planted = HookedTransformer.from_pretrained("planted-induction")
    task = induction(planted, n=10)
    sets = head_sets(planted.cfg, task.pairs, [Head(*INDUCTION), Head(*PREVIOUS)], task.metric)
    found = faithfulness(sets, run_sweep(planted, sets.experiment))
    table = share_rows(sets, found)
    n = 2 + 2 * len(sets.random) + 2 + len(sets.outsiders)
    assert len(table) == n
    assert table[0][:3] == ("kept", f"{sets.heads[0]}, {sets.heads[1]}", pytest.approx(found.kept.value))
    assert [row.share for row in table if row.what == "own share"] == pytest.approx([own.value for own in found.own])
    assert all(row.low is None for row in table if "random" in row.what or row.what == "one more")


def test_senders_and_receivers_have_names(model):
    names = [sender.label for sender, _ in senders_in_order(path_patch(model, Path(PAIRS, "final")))]
    assert {"embedding", "MLP 0", "head 2.3"} <= set(names)
    assert Sender("all", -1).label == "all senders"
    heads = [(2, 3), (2, 2), (1, 0)]
    assert receivers_of(model.cfg, "q", heads) == tuple(heads)
    assert model.cfg.group_size == 2
    assert receivers_of(model.cfg, "k", heads) == ((2, 1), (1, 0))


@pytest.mark.parametrize("name", list(TASKS))
def test_a_task_by_size_has_the_pairs_and_enough_frames_and_names(smollm2, name):
    for n in (1, 40):
        task = task_of(smollm2, name, n, seed=3)
        assert len(task.pairs) >= n
        if task.prompts:
            assert min(len(set(task.pairs.frames)), len(set(task.pairs.names))) >= MIN_LEVELS
    drawn = {"repeated", "induction"}
    blocks = [task_of(smollm2, name, 2, block=block).pairs.n_pos for block in (4, 6)]
    assert (blocks[0] < blocks[1]) is (name in drawn)


def test_an_unknown_task_is_refused(smollm2):
    with pytest.raises(ValueError, match="it must be one of ioi, pronouns"):
        task_of(smollm2, "translation", 4)


def test_a_pair_that_is_too_long_is_refused_with_the_way_out(smollm2):
    prompt = PromptPair("The cat sat on the", "The dog sat on the", (" mat",), ())
    n = len(check(smollm2, prompt).clean)
    assert check(smollm2, prompt, longest=n).problem == ""
    assert f"It has {n} tokens; at most {n - 1}" in check(smollm2, prompt, longest=n - 1).problem
