"""Direct paths against hooks that hold everything else; head sets; JSON, addresses and scripts."""

import json
from dataclasses import replace

import pytest
import torch

from lens import HookedTransformer
from lens.analysis.crossed import resamples
from lens.analysis.interventions import (
    Experiment,
    Grid,
    Intervention,
    Metric,
    Noise,
    Pairs,
    Path,
    Place,
    Sender,
    faithfulness,
    from_json,
    head_sets,
    path_group,
    path_outline,
    path_patch,
    paths_to_python,
    run_sweep,
    senders_in_order,
    sets_to_python,
    to_json,
    to_python,
    with_noise,
    with_senders,
)
from lens.analysis.interventions.path import path_summary
from lens.analysis.names import Head
from tests.analysis.interventions import plain
from tests.analysis.interventions.test_exact import CLEAN, CORRUPTED, PAIRS
from tests.families.variants import VARIANTS
from tests.helpers import in_lens


@pytest.fixture(scope="module", params=["gpt2", "llama-grouped", "gemma2", "gpt-neox", "olmo2"])
def model(request):
    return in_lens(VARIANTS[request.param]())


def writes(kept, sender):
    """Hooks that hold every head and MLP where it was, but the sender's."""
    names = [name for name in kept if name.endswith(("attn.hook_z", "hook_mlp_out"))]
    held = plain.freezing(kept, names)
    if sender.kind == "embed":
        return held, "blocks.0.hook_resid_pre"
    if sender.kind == "mlp":
        name = f"blocks.{sender.layer}.hook_mlp_out"
        return [hook for hook in held if hook[0] != name], name
    return held, f"blocks.{sender.layer}.attn.hook_z"


def by_hooks(model, path, sender, i):
    own, other = plain.cached(model, CLEAN[i]), plain.cached(model, CORRUPTED[i])
    held, name = writes(own, sender)

    def send(x, hook):
        if sender.kind != "head":
            return other[name]
        x[:, :, sender.head] = other[name][:, :, sender.head]
        return x

    seen = {}
    points = [f"blocks.{layer}.attn.hook_{path.input}" for layer, _ in path.receivers]

    def keep(x, hook):
        seen[hook.name] = x.clone()

    logits = plain.forward(model, CLEAN[i], [*held, (name, send), *((point, keep) for point in points)])
    if path.input == "final":
        return plain.logit_diff(logits, PAIRS.answers[i], PAIRS.wrong[i])

    def receive(x, hook):
        for layer, head in path.receivers:
            if hook.name == f"blocks.{layer}.attn.hook_{path.input}":
                at = slice(None) if path.pos is None else path.pos
                x[:, at, head] = seen[hook.name][:, at, head]
        return x

    return plain.logit_diff(
        plain.forward(model, CLEAN[i], [(point, receive) for point in set(points)]), PAIRS.answers[i], PAIRS.wrong[i]
    )


@pytest.mark.parametrize(
    ("name", "receivers", "pos"),
    [
        ("q", ((2, 0), (2, 1)), None),
        ("k", ((2, 1), (1, 0)), None),
        ("v", ((1, 1),), None),
        ("q", ((2, 0),), -1),
        ("final", (), None),
    ],
)
def test_direct_paths_equal_hooks_that_hold_everything_else(model, name, receivers, pos):
    path = Path(PAIRS, name, receivers, pos)
    found = path_patch(model, path)
    again = path_patch(model, path, budget=1)
    torch.testing.assert_close(found.heads, again.heads, rtol=1e-4, atol=1e-4)
    for sender in (Sender("head", 0, 1), Sender("head", 1, 2), Sender("mlp", 0)):
        row = found.mlps[sender.layer] if sender.kind == "mlp" else found.heads[sender.layer, sender.head]
        wanted = [by_hooks(model, path, sender, i) for i in range(len(PAIRS))]
        torch.testing.assert_close(row, torch.tensor(wanted), rtol=1e-4, atol=1e-4)
    if name == "final":
        torch.testing.assert_close(found.together, found.other, rtol=1e-4, atol=1e-4)
        return
    whole = tuple(Place(layer, pos, head) for layer, head in receivers)
    sweep = run_sweep(model, Experiment(PAIRS, Intervention(name, into="clean"), Grid(sets=(whole,))))
    torch.testing.assert_close(found.together, sweep.values[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "receivers"), [("k", ((2, 1), (1, 0))), ("final", ())])
def test_all_sources_in_one_call_equal_one_forward_for_each_path(name, receivers):
    """With grouped keys and values: embedding, heads and MLPs; those that come too late change nothing."""
    model = in_lens(VARIANTS["llama-grouped"]())
    path = Path(PAIRS.take([1]), name, receivers)
    found = path_patch(model, path)
    last = 3 if name == "final" else 2
    for sender, effect in senders_in_order(found):
        wanted = by_hooks(model, path, sender, 1) if sender.layer < last else float(found.base)
        assert effect == pytest.approx(wanted - float(found.base), rel=1e-3, abs=1e-4)
    rows = list(senders_in_order(found))
    assert len(rows) == 1 + 3 * 5
    summary = path_summary(found, 2)
    assert summary.strongest == tuple(rows[:2])
    assert summary.total == pytest.approx(sum(effect for _, effect in rows))
    assert summary.together == pytest.approx(float(found.together - found.base))
    assert summary.gap == pytest.approx(float(found.other - found.base))
    assert (summary.acts, summary.n_missing) == (True, 0)


def test_paths_fill_group_by_group():
    model = in_lens(VARIANTS["llama-grouped"]())
    path, budget = Path(PAIRS, "v", ((2, 0),)), 60_000
    outline = path_outline(model, path, budget)
    assert outline.n_groups > 2
    assert outline.n_computed == len(PAIRS) * (2 + 2 * 5)
    parts = [path_group(group, model, path, budget) for group in range(outline.n_groups)]
    half = with_senders(outline.empty, [part for group in parts[: len(parts) // 2] for part in group])
    whole = with_senders(outline.empty, [part for group in parts for part in group])
    assert half.heads[1].isnan().all()
    assert not whole.heads.isnan().any()
    torch.testing.assert_close(half.heads[2], half.base.expand(4, -1))  # its own layer has no path to it
    known = ~half.heads.isnan()
    assert known[0].any()
    torch.testing.assert_close(half.heads[known], whole.heads[known])
    torch.testing.assert_close(whole.heads, path_patch(model, path).heads, rtol=1e-4, atol=1e-4)


def test_direct_paths_into_the_last_stream_add_up_to_the_other_run():
    """Embedding, heads and MLPs together are the stream, so without a final norm their effects sum to the gap."""
    model = in_lens(VARIANTS["gpt2"]())
    model.ln_final = torch.nn.Identity()
    found = path_patch(model, Path(PAIRS, "final"))
    effects = [found.heads.flatten(0, 1), found.mlps, found.embed[None]]
    total = sum((one - found.base).sum(0) for one in effects)
    torch.testing.assert_close(total, found.other - found.base, rtol=1e-4, atol=1e-3)
    first, effect = next(senders_in_order(found))
    assert abs(effect) == pytest.approx(
        max(float((one - found.base).mean(-1).abs().max()) for one in effects), rel=1e-4
    )
    assert first.kind in ("head", "mlp", "embed")


def test_refused_paths():
    with pytest.raises(ValueError, match="input='out'"):
        Path(PAIRS, "out")
    with pytest.raises(ValueError, match="name receivers"):
        Path(PAIRS, "q")
    with pytest.raises(ValueError, match="no head 9"):
        path_patch(in_lens(VARIANTS["gpt2"]()), Path(PAIRS, "q", ((1, 9),)))


HEADS = [Head(0, 1), Head(2, 3)]
MANY = PAIRS.take([0] * 18)  # shares need at least 16 pairs, and a gap between the runs


def sets_of(model, pairs=MANY, heads=HEADS):
    sets = head_sets(model.cfg, pairs, heads, Metric(), seed=3)
    return sets, run_sweep(model, sets.experiment)


def only(model, working):
    """The mean metric when only these heads work, from one forward pass with hooks for each prompt."""
    places = tuple(Place(layer, None, head) for layer in range(3) for head in range(4) if (layer, head) not in working)
    means = []
    for i, ids in enumerate(CLEAN[:1]):
        kept = plain.cached(model, CORRUPTED[i])
        hooks = plain.changes("z", places, len(ids), lambda name, old, kept=kept: kept[name])
        means.append(plain.logit_diff(plain.forward(model, ids, hooks), PAIRS.answers[i], PAIRS.wrong[i]))
    return sum(means) / len(means)


@pytest.mark.parametrize("variant", ["gpt2", "llama-grouped"])
def test_shares_of_a_set_equal_forwards_with_hooks(variant):
    model = in_lens(VARIANTS[variant]())
    sets, sweep = sets_of(model)
    found = faithfulness(sets, sweep)
    every = {Head(layer, head) for layer in range(3) for head in range(4)}
    none = only(model, [])

    def share(working):
        return (only(model, working) - none) / (only(model, every) - none)

    kept = share(HEADS)
    assert found.kept.value == pytest.approx(kept, abs=1e-3)
    assert found.removed.value == pytest.approx(share(every - set(HEADS)), abs=1e-3)
    assert [one.value for one in found.own] == pytest.approx(
        [kept - share([HEADS[1]]), kept - share([HEADS[0]])], abs=1e-3
    )
    assert float(found.random_kept[4]) == pytest.approx(share(sets.random[4]), abs=1e-3)
    assert float(found.random_removed[4]) == pytest.approx(share(every - set(sets.random[4])), abs=1e-3)
    assert float(found.added[2]) == pytest.approx(share([*HEADS, sets.outsiders[2]]) - kept, abs=1e-3)


def test_random_sets_are_as_large_and_from_outside():
    model = in_lens(VARIANTS["gpt2"]())
    sets, sweep = sets_of(model)
    assert {(len(drawn), len(set(drawn))) for drawn in sets.random} == {(2, 2)}
    assert not {head for drawn in sets.random for head in drawn} & set(HEADS)
    assert len(set(sets.outsiders)) == 10  # every other head of 3 layers of 4
    assert not set(sets.outsiders) & set(HEADS)
    found = faithfulness(sets, sweep)
    assert (len(found.random_kept), len(found.own), len(found.added)) == (20, 2, 10)
    assert found.kept.low <= found.kept.value <= found.kept.high
    assert "18 pairs" in found.note
    assert f"{found.kept.value:.0%}".replace("-", "−") in found.sentence


def test_shares_of_a_set_are_a_ratio_of_sums_with_resampled_pairs():
    """Sixteen pairs of hand-made values: the bootstrap of the same ratio, one pair at a time."""
    model = in_lens(VARIANTS["gpt2"]())
    pairs = PAIRS.take([0, 1, 2] * 5 + [0])
    sets, sweep = sets_of(model, pairs)
    values = torch.rand(sweep.values.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    base = values[0] + 1 + values[5]
    sweep = sweep._replace(values=values, base=base)
    found = faithfulness(sets, sweep)
    assert found.kept.value == pytest.approx(float((values[1] - values[0]).sum() / (base - values[0]).sum()))
    top, bottom = values[1] - values[0], base - values[0]
    ratio = top.sum() / bottom.sum()
    residual, far = top - ratio * bottom, []
    error = (residual**2).sum().mul(16 / 15).sqrt() / bottom.sum()
    for weight in resamples(pairs, sets.seed).weight:
        moved = (weight @ top) / (weight @ bottom) - ratio
        own = (weight @ (residual - moved * bottom) ** 2).mul(16 / 15).sqrt() / (weight @ bottom)
        far.append(moved / torch.maximum(own, 0.3 * error))
    low, high = torch.stack(far).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64))
    wanted = (float(ratio - high * error), float(ratio - low * error))
    assert (found.kept.low, found.kept.high) == pytest.approx(wanted, abs=1e-6)
    assert "95% studentised bootstrap over 16 pairs" in found.note


def test_small_models_have_fewer_random_sets_and_none_twice():
    """A layer of four heads less one leaves three single heads: three sets, not twenty draws of them."""
    cfg = in_lens(VARIANTS["gpt2"]()).cfg
    small = replace(cfg, n_layers=1)
    for chosen, n_sets in (([Head(0, 0)], 3), ([Head(0, 0), Head(0, 1)], 1), ([Head(0, 0), Head(0, 1), Head(0, 2)], 3)):
        sets = head_sets(small, PAIRS, chosen, Metric())
        assert len(sets.random) == len({frozenset(one) for one in sets.random}) == n_sets
        assert frozenset(chosen) not in {frozenset(one) for one in sets.random}
    many = head_sets(cfg, PAIRS, HEADS, Metric()).random
    assert len({frozenset(one) for one in many}) == 20


def test_refused_sets():
    model = in_lens(VARIANTS["gpt2"]())
    with pytest.raises(ValueError, match="at least one"):
        head_sets(model.cfg, PAIRS, [], Metric())
    with pytest.raises(ValueError, match=r"no head 5\.0"):
        head_sets(model.cfg, PAIRS, [Head(5, 0)], Metric())
    with pytest.raises(ValueError, match="site 'z'"):
        head_sets(model.cfg, PAIRS, HEADS, Metric(), Intervention("mlp_out"))
    sets, sweep = sets_of(model, Pairs(CLEAN, CLEAN, PAIRS.answers, PAIRS.wrong))
    with pytest.raises(ValueError, match="nothing to explain"):
        faithfulness(sets, sweep)
    sets, sweep = sets_of(model, PAIRS.take([0] * 16))
    back_and_forth = torch.tensor([1.0, -1.0] * 7 + [1.0, 1.0])  # a mean gap of 1/8, its interval includes 0
    wild = sweep._replace(base=sweep.values[0] + back_and_forth)
    with pytest.raises(ValueError, match="may be 0"):
        faithfulness(sets, wild)
    sets, sweep = sets_of(model, PAIRS)
    with pytest.raises(ValueError, match="3 pairs, at least 16 are needed"):
        faithfulness(sets, sweep)


EXPERIMENTS = [
    Experiment(PAIRS, Intervention("z"), Grid(("layer", "head"))),
    Experiment(
        PAIRS, Intervention("resid_pre", "mean", "clean", ("patterns", "ln_final.hook_scale")), Grid(("pos",), layer=1)
    ),
    Experiment(with_noise(PAIRS, Noise((1,), 2.5, 7)), Intervention("mlp_out"), Grid(("layer", "pos"), layers=(0, 2))),
    Experiment(PAIRS, Intervention("k", "zero"), Grid(sets=((Place(0, 3, 1), Place(2)),)), Metric("loss", (2, 3))),
    Experiment(PAIRS, Intervention("z", "add", vector=(0.5,) * 8, coefficient=-2.0), Grid(("layer",)), Metric("prob")),
]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_survives_json(experiment):
    assert from_json(to_json(experiment)) == experiment


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_the_exported_script_reproduces_the_number(experiment, folder, capsys):
    wanted = run_sweep(HookedTransformer.from_pretrained(folder), experiment)
    cell = experiment.grid.sets[0] if experiment.grid.sets else None
    script, names = to_python(folder, experiment, cell), {}
    exec(compile(script, "script", "exec"), names)
    torch.testing.assert_close(names["sweep"].values, wanted.values, equal_nan=True)
    assert "effect:" in capsys.readouterr().out


def test_the_exported_script_of_a_set_says_the_same(folder, capsys):
    sets, sweep = sets_of(HookedTransformer.from_pretrained(folder))
    names = {}
    exec(compile(sets_to_python(folder, sets), "script", "exec"), names)
    wanted = faithfulness(sets, sweep)
    assert names["found"].kept.value == pytest.approx(wanted.kept.value, abs=1e-5)
    assert wanted.sentence in capsys.readouterr().out


def test_the_exported_script_of_paths_says_the_same(folder, capsys):
    path = Path(PAIRS, "k", ((2, 1),), into="corrupted")
    names = {}
    exec(compile(paths_to_python(folder, path), "script", "exec"), names)
    wanted = path_patch(HookedTransformer.from_pretrained(folder), path)
    torch.testing.assert_close(names["found"].heads, wanted.heads)
    printed = capsys.readouterr().out
    assert len(printed.strip().splitlines()) == 1 + 3 * 5 + 2
    assert "all senders at once:" in printed
    assert "intervals of heads: no interval: 3 pairs" in printed


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model on disk, as anybody's script would open it."""
    path = tmp_path_factory.mktemp("model")
    VARIANTS["llama-grouped"]().save_pretrained(path)
    return str(path)


def changed(**parts):
    data = json.loads(to_json(EXPERIMENTS[0]))
    return json.dumps({name: {**data[name], **parts.get(name, {})} if name in parts else data[name] for name in data})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "no JSON"),
        ("[]", "version"),
        ('{"version":1}', "pairs is missing"),
        (changed(grid={"layer": "1"}), "wrong kind"),
        (changed(grid={"sets": [[["a"]]], "over": []}), "no place"),
        (changed(metric={"function": "print"}), "no 'function'"),
        (changed(pairs={"clean": [["a"], [1], [2]]}), "lists of token ids"),
        (changed(pairs={"clean": 7}), "wrong kind|token ids"),
        (changed(intervention={"site": ["z"]}), "wrong kind"),
        (changed(intervention={"freeze": [1]}), "wrong kind"),
    ],
)
def test_hostile_json_is_refused_in_words(text, message):
    with pytest.raises(ValueError, match=message):
        from_json(text)


def test_a_metric_that_is_code_has_no_json():
    with pytest.raises(ValueError, match="Python code"):
        to_json(Experiment(PAIRS, Intervention("z"), Grid(("layer",)), Metric("function", function=max)))
