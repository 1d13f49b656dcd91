"""The Python of the page of one head: the number of every link that was computed, in the order of the chain."""

from typing import TYPE_CHECKING, Any

from lens.ui import checkpoint_runs
from lens.ui.models import prepend_bos, source_of
from lens.ui.shared import heads
from lens.ui.shared.chain.is_fed import offset
from lens.ui.view import ViewState

if TYPE_CHECKING:
    from lens.hooked import HookedTransformer
    from lens.ui.shared.chain.link import Case, Finding


def python(case: "Case", findings: "dict[str, Finding]") -> str:
    """What continues after the lines that open the model. Each link prints one line."""
    n, seqs, seed, bos = case.sample.settings
    text = (
        "from lens.analysis.head_scores import head_scores\n"
        "from lens.analysis.ov_copying import ov_copying\n"
        "from lens.analysis.random_tokens import repeated_tokens\n\n"
        f"layer, head = {case.head.layer}, {case.head.head}\n"
        f"repeated = repeated_tokens(model, n={n}, n_seqs={seqs}, seed={seed}, prepend_bos={bos})\n"
        'print("induction", float(head_scores(model, repeated)["induction"].score.mean[layer, head]))\n'
        'print("copying", float(ov_copying(model).full.score[layer, head]))\n'
    )
    numbers = {name: finding.numbers or {} for name, finding in findings.items()}
    if "keys read" in numbers.get("looks there because", {}):
        text += REASONS
    if "ranks gained on repeats" in numbers.get("copies", {}):
        text += ON_REPEATS
    if "by" in numbers.get("is fed", {}):
        text += feeder(case.model, n, numbers["is fed"])
    if "change of loss" in numbers.get("matters", {}):
        text += MATTERS.format(seed=case.view["seed"])
    if numbers.get("was born"):
        text += born(case.view)
    return text


REASONS = """
from lens.analysis.answer.reasons import stripe_reasons

reasons = stripe_reasons(model, (layer, head), repeated)
print("contrast", float(reasons.text.total.mean()), "control", float(reasons.control.total.mean()))
print("keys read", *reasons.read.strongest("k", 1)[0], "queries read", *reasons.read.strongest("q", 1)[0])
"""
ON_REPEATS = """
from lens.analysis.copying_on_data import copying_on_data

on_data = copying_on_data(model, repeated)
print("logit on repeats", float(on_data["target_logit"].effect.mean[layer, head]))
print("ranks gained", -float(on_data["target_rank"].effect.mean[layer, head]))
"""
MATTERS = """
from lens.analysis.interventions import effect, run_sweep
from lens.analysis.interventions.ablation import Target, ablation, cells_of
from lens.analysis.interventions.tasks import induction_on

task, cells = induction_on(repeated), cells_of(model.cfg, Target(((layer, head),)), {seed})
removed = effect(run_sweep(model, ablation(task.pairs, task.metric, cells)), {seed})  # resample ablation
print("change of loss", float(removed.value[0]))
"""


def feeder(model: "HookedTransformer", n: int, numbers: dict[str, Any]) -> str:
    """The composition that the page names first."""
    mode, sender = numbers["by"], heads.from_label(numbers["feeder"])
    return (
        "\nfrom lens.analysis.composition import composition\n\n"
        f'fed = composition(model, "{mode}", offset={offset(model, mode, n)}, receiver=(layer, head))\n'
        f'print("{mode}-composition", float(fed.scores[{sender.layer}, {sender.head}, layer, head]), '
        f"bool(fed.beyond((layer, head))[{sender.layer}, {sender.head}]))\n"
    )


def born(view: ViewState) -> str:
    """The checkpoints between which its score crossed the line."""
    source = source_of(view)
    indices = checkpoint_runs.chosen(checkpoint_runs.run_of(source))
    setting = f"n={view['n']}, seqs={view['seqs']}, seed={view['seed']}, bos={prepend_bos(view)}"
    return (
        "\nfrom lens.analysis.checkpoint import Setting\n"
        "from lens.analysis.dynamics import head_curve\n"
        "from lens.analysis.names import Head\n"
        "from lens.analysis.training_run import TrainingRun\n"
        "from lens.load.checkpoints import checkpoints\n\n"
        f"run, setting = TrainingRun(checkpoints({source!r})), Setting({setting})\n"
        f"repeats = {{index: run.repeats(index, setting) for index in {indices}}}\n"
        f"birth = head_curve(repeats, Head(layer, head), seed={view['seed']}).birth\n"
        'print("born", birth.last_below, birth.first_above)  # places among these checkpoints\n'
    )
