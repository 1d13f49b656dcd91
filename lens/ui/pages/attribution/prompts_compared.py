"""Another model or checkpoint beside the first over the pairs of a task: paired differences of the parts."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lens.analysis.answer.direct_attribution import DirectAttribution, task_attribution
from lens.analysis.compare import Match, by_name, difference_over_pairs, token_pieces
from lens.analysis.counts import counted
from lens.analysis.interventions import Pairs
from lens.analysis.interventions.tasks import ability
from lens.arrays import as_tensor
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.ending import end_page
from lens.ui.estimate import forward_seconds
from lens.ui.pages.attribution.compared import SUMS, sums_by_prompt
from lens.ui.shared.compare import pairs
from lens.ui.shared.compare.section import compare
from lens.ui.shared.tasks import task_beside
from lens.ui.shared.wording import interval, sentence, signed

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from lens.analysis.stats import Estimate
    from lens.hooked import HookedTransformer
    from lens.ui.shared.compare.pairs import Along, Pair, Quantity
    from lens.ui.shared.compare.section import Sides
    from lens.ui.shared.tasks import TaskChoice
    from lens.ui.view import ViewState

DEFINITION = "What each part adds to {} directly, mean over {}."
NO_PAIRS = (
    "{} and {} cut text in different ways, and no prompt of this task is made for both. Prompts of your own are read "
    "by both."
)
LARGEST_OF_A_LAYER = "no interval: which head is the largest of its layer was chosen by the same pairs"
DOES = {
    "found": "{} does this task.",
    "none": "{} does not do this task.",
    "unknown": "Whether {} does this task is not said: too few pairs.",
}
GIVEN = """import torch

from lens.analysis.answer.direct_attribution import task_attribution
from lens.analysis.interventions import Pairs
"""
HEADS = "values = found.heads(model.cfg.n_layers, model.cfg.n_heads).permute(1, 2, 0)"
NAMED = f"""sums, named = {{}}, {SUMS!r}
for write, part in zip(found.writes, found.parts.T):
    name = named.get(write.kind, str(write))
    sums[name] = sums.get(name, 0.0) + part
values = torch.stack(list(sums.values()))"""
MLPS = 'values = found.parts.T[[write.kind == "mlp" for write in found.writes]]'
FINISH = """if cell is not None:
    print("interval", float(difference.low[cell]), float(difference.high[cell]))
"""


class Attributed(NamedTuple):
    """The answers of a task's pairs, taken apart by one model."""

    model: HookedTransformer
    task: TaskChoice
    of: DirectAttribution

    def take(self, places: np.ndarray) -> Attributed:
        """Some of the pairs."""
        task = self.task._replace(pairs=self.task.pairs.take(places.tolist()))
        of = self.of._replace(value=np.asarray(self.of.value)[places], parts=np.asarray(self.of.parts)[places])
        return self._replace(task=task, of=of)

    @property
    def heads(self) -> np.ndarray:
        """[layer, head, pair]."""
        cfg = self.model.cfg
        return np.moveaxis(np.asarray(self.of.heads(cfg.n_layers, cfg.n_heads)), 0, -1)

    @property
    def mlps(self) -> np.ndarray:
        """[layer, pair]; of a model without MLPs none."""
        return np.asarray(self.of.parts).T[[write.kind == "mlp" for write in self.of.writes]]


def draw(view: ViewState, place: DeltaGenerator, first: Attributed) -> None:
    """The section."""
    n_tokens = len(first.task.pairs) * first.task.pairs.n_pos

    def seconds(_: ViewState, model: HookedTransformer) -> float:
        return 3 * forward_seconds(model, n_tokens, unembed=False)  # taken apart; and both runs, whether it can

    numbers = partial(attributed, first.task.name)
    compare(view, first.model, place, first, numbers, _pairs, reads_prompt=False, seconds=seconds, key="compare:task")


def attributed(name: str, view: ViewState, model: HookedTransformer) -> Attributed:
    """The second side: the same task as it is made for its vocabulary."""
    task = task_beside(view, model, name)
    if not task.pairs.answers:
        parts.not_computed(f"these pairs have no answers for {model.name}.")
        end_page()
    return Attributed(model, task, analyse(task_attribution, model, task.pairs, "clean"))


def same_pairs(first: Attributed, second: Attributed) -> Match:
    """Pairs whose prompts and answers are the same text for both, however it is cut."""
    return by_name(*(_texts(of.model, of.task.pairs) for of in (first, second)))


def _texts(model: HookedTransformer, of: Pairs) -> list[tuple[bytes, ...]]:
    def text(ids: tuple[int, ...]) -> bytes:
        return b"".join(token_pieces(model, as_tensor(ids)))

    answers = (of.answers, of.wrong or [()] * len(of))
    rows = zip(of.clean, of.corrupted, *([ids[:1] for ids in some] for some in answers))
    return [tuple(map(text, row)) for row in rows]


def _pairs(sides: Sides, first: Attributed, second: Attributed) -> list[Pair]:
    match = same_pairs(first, second)
    if not len(match.first):
        parts.not_computed(NO_PAIRS.format(*sides.names))
        return []
    over = Over(sides, first.take(match.first), second.take(match.second), match)
    compared = [over.sums(), over.heads()]
    return compared if min(len(of.mlps) for of in over.both) == 0 else [*compared, over.mlps()]


class Over(NamedTuple):
    """Both sides on the same pairs."""

    sides: Sides
    first: Attributed
    second: Attributed
    match: Match  # of all pairs of either side

    @property
    def both(self) -> tuple[Attributed, Attributed]:
        """First and second."""
        return self.first, self.second

    @property
    def seed(self) -> int:
        """Of the resamples."""
        return int(self.sides.views[0]["seed"])

    def sums(self) -> Pair:
        """Attention, MLPs and every other part by its name; and the number itself, with what the two can do."""
        named = [sums_by_prompt(of.of) for of in self.both]
        match = by_name(*map(list, named))
        samples = [np.stack(list(of.values()))[at] for of, at in zip(named, (match.first, match.second))]
        means = ({name: values.mean() for name, values in of.items()} for of in named)
        quantity = self._quantity("mean sum of parts", NAMED)
        estimate = self._difference(*samples)
        pair = pairs.names(quantity, *means, note=estimate.note, estimate=estimate)
        return self._with_python(pair, pair.axes[0])._replace(aside=self._whole())

    def heads(self) -> Pair:
        """Every head; of models of other shapes the largest and the mean of each layer."""
        quantity, samples = self._quantity("mean direct effect of heads", HEADS), [of.heads for of in self.both]
        means = [of.mean(-1) for of in samples]
        if not self.sides.same_shape:
            pair = pairs.heads(quantity, *means, note=LARGEST_OF_A_LAYER)
            return self._with_python(pair, None)
        estimate = self._difference(*samples)
        return self._with_python(pairs.heads(quantity, *means, note=estimate.note, estimate=estimate), None)

    def mlps(self) -> Pair:
        """Every MLP, by relative depth."""
        samples = [of.mlps for of in self.both]
        along = pairs.layers(*map(len, samples))
        estimate = self._difference(samples[0][along.match.first], samples[1][along.match.second])
        quantity, means = self._quantity("mean direct effect of MLPs", MLPS), [of.mean(-1) for of in samples]
        return self._with_python(pairs.bars(quantity, *means, along, note=estimate.note, estimate=estimate), along)

    def _difference(self, first: np.ndarray, second: np.ndarray) -> Estimate:
        return analyse(difference_over_pairs, as_tensor(first), as_tensor(second), self.first.task.pairs, self.seed)

    def _quantity(self, name: str, code: str) -> Quantity:
        pairs_of, number = self.first.task.pairs, "the log-probability of the right answer"
        if pairs_of.wrong:
            number = "the logit of the right answer minus that of the wrong one"
        definition = DEFINITION.format(number, counted(len(pairs_of), "pair"))
        codes = (f"found = task_attribution(model, {of})\n{code}" for of in self._names())
        return pairs.Quantity(name, "logits" if pairs_of.wrong else "nats", definition, *codes, signed=True)

    def _names(self) -> tuple[str, str]:
        """What the pairs of both are called in Python: one name where they are the same ids."""
        same = self.first.task.pairs == self.second.task.pairs
        return ("pairs", "pairs") if same else ("first_pairs", "second_pairs")

    def _with_python(self, pair: Pair, along: Along | None) -> Pair:
        """With Python that makes the samples, their means, and the interval of the difference."""
        names = self._names()
        made = dict(zip(names, (of.task.pairs for of in self.both)))
        given = GIVEN + "".join(f"\n{name} = {_written(of)}" for name, of in made.items()) + "\n"
        means = "first, second = first.mean(-1), second.mean(-1)\n"
        if pair.estimate is None or pair.estimate.low is None:
            return pair._replace(given=given, prepare=means + pair.prepare)
        samples = "first, second"
        matched = ""
        if along is not None and not along.match.is_identity:
            matched, samples = f"match = {along.code}\n", "first[match.first], second[match.second]"
        difference = f"{matched}difference = difference_over_pairs({samples}, {names[0]}, seed={self.seed})\n"
        given = f"from lens.analysis.compare import difference_over_pairs\n{given}"
        return pair._replace(given=given, prepare=difference + means, finish=FINISH)

    def _whole(self) -> str:
        """The number itself in both, the difference with its own interval, and whether each can do the task."""
        values = [np.asarray(of.of.value) for of in self.both]
        of = self._difference(*(value[None] for value in values))
        ends = (None, None) if of.low is None else (float(of.low[0]), float(of.high[0]))
        names = self.sides.names
        means = " and ".join(f"{signed(float(value.mean()))} in {name}" for value, name in zip(values, names))
        can = (DOES[_ability(of)].format(name) for of, name in zip(self.both, names))
        left = [n for n in self.match.left_out if n]
        only = f" {counted(sum(left), 'pair')} that one of them alone can read are left out." if left else ""
        about, change = sentence(self.first.task.description), f"{signed(float(of.mean[0]))}{interval(*ends)}"
        whole = f"{about} All parts together are {means}; difference {change}.{only}"
        return " ".join([whole, *can])


def _ability(of: Attributed) -> str:
    return analyse(ability, of.model, of.task.pairs, of.task.metric, of.task.swapped).verdict.state


def _written(of: Pairs) -> str:
    fields = ("clean", "corrupted", "answers", "wrong", "frames", "names")
    return f"Pairs({', '.join(f'{name}={value!r}' for name in fields if (value := getattr(of, name)))})"
