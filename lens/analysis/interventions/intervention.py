"""What is done, as plain values: what is put where, what stays frozen, and what is measured."""

from collections.abc import Callable
from dataclasses import dataclass

from lens.analysis.interventions.cells import Grid
from lens.analysis.interventions.pairs import Pairs

PUT = {
    "other": "the activation of the other run (resample)",
    "mean": "the mean of the other runs, position by position",
    "mean_last": "the mean of the other runs at their last tokens, each pair's own left out",
    "zero": "zero (off-distribution: no run of the model has it)",
    "add": "its own activation plus a vector times a coefficient (steering)",
}
INTO = {
    "corrupted": "denoising: clean activations into the corrupted run; says what is sufficient",
    "clean": "noising: corrupted activations into the clean run; says what is necessary",
}
KINDS = ("logit_diff", "lead", "logit", "log_prob", "prob", "prob_diff", "rank", "loss", "kl", "function")


@dataclass(frozen=True)
class Intervention:
    """One kind of change of a run.

    ``into`` names the run that is changed; the other one is where activations come from. ``freeze`` keeps parts as
    they were in the changed run before the change: "patterns" (all attention patterns), "scales" (all norms of the
    stream), or single hook points such as "ln_final.hook_scale". ``vector`` and ``coefficient`` belong to put="add".
    """

    site: str
    put: str = "other"
    into: str = "corrupted"
    freeze: tuple[str, ...] = ()
    vector: tuple[float, ...] = ()
    coefficient: float = 1.0

    def __post_init__(self) -> None:
        for name, allowed in (("put", PUT), ("into", INTO)):
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"Intervention: {name}={getattr(self, name)!r}; it must be one of {', '.join(allowed)}."
                )
        if (self.put == "add") != bool(self.vector):
            raise ValueError("Intervention: a vector is given exactly when put='add'.")

    @property
    def base(self) -> str:
        """The run that is changed."""
        return self.into

    @property
    def other(self) -> str:
        """The run that activations come from."""
        return "clean" if self.into == "corrupted" else "corrupted"


@dataclass(frozen=True)
class Metric:
    """One number per prompt, read from the logits; its mean over the positions that are read.

    - logit_diff: mean logit of the right answers − mean logit of the wrong ones (logits)
    - lead: logit of the best right answer − that of the best other token (logits); above 0 the answer is right
    - logit, log_prob: mean over the right answers (logits; nats). prob: their sum. rank: mean of ranks, 1 is the top
    - prob_diff: probability of the right answers together − of the wrong ones together
    - loss: −log P of the next token of the prompt that is run (nats)
    - kl: KL(clean run ‖ this run) (nats)
    - function: ``function(logits [n, d_vocab], pair [n], pos [n]) -> [n]`` of your own

    ``where``: "last" token of each prompt, "all", or positions; loss is read at the positions that predict.
    """

    kind: str = "logit_diff"
    where: str | tuple[int, ...] = "last"
    function: Callable | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"Metric: kind={self.kind!r}; it must be one of {', '.join(KINDS)}.")
        if (self.kind == "function") != (self.function is not None):
            raise ValueError("Metric: a function is given exactly when kind='function'.")
        if isinstance(self.where, str) and self.where not in ("last", "all"):
            raise ValueError(f"Metric: where={self.where!r}; it must be 'last', 'all' or a tuple of positions.")

    @property
    def unit(self) -> str:
        """Unit of the number."""
        units = {"logit_diff": "logits", "lead": "logits", "logit": "logits", "rank": "rank"}
        units |= {"prob": "probability", "prob_diff": "probability"}
        return units.get(self.kind, "" if self.kind == "function" else "nats")

    def positions(self, length: int) -> list[int]:
        """Where it is read in a prompt of ``length`` tokens; a loss is that of the token after."""
        last = length - 1 - (self.kind == "loss")
        if self.where == "all":
            return list(range(last + 1))
        return [last] if self.where == "last" else [at if at >= 0 else length + at for at in self.where]


@dataclass(frozen=True)
class Experiment:
    """Everything that determines the numbers of a sweep, besides the model."""

    pairs: Pairs
    intervention: Intervention
    grid: Grid
    metric: Metric = Metric()


def kinds_for(pairs: Pairs) -> tuple[str, ...]:
    """The kinds of metric that ``pairs`` allow: a difference needs wrong answers of every pair, others right ones."""
    wrong, answers = (bool(side) and all(side) for side in (pairs.wrong, pairs.answers))
    needs = {"logit_diff": wrong, "prob_diff": wrong} | dict.fromkeys(
        ("lead", "logit", "log_prob", "prob", "rank"), answers
    )
    return tuple(kind for kind in KINDS if needs.get(kind, True))
