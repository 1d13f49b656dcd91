"""What instruments are measured on: repeats, texts, the weights alone, or a task."""

from dataclasses import dataclass

from lens.analysis.held_out import beginnings
from lens.analysis.instruments.instrument import SampleName, Size
from lens.analysis.interventions.tasks import Task, induction_on
from lens.analysis.random_tokens import RepeatedTokens
from lens.hooked import HookedTransformer
from lens.texts import HELD_OUT_NAME, UNIT
from lens.tokens import TokenBatch


@dataclass(frozen=True)
class Sample:
    """One of ``repeated``, ``texts`` and ``task``, as ``name`` says; none of them for weights."""

    name: SampleName
    source: str  # in words, with numbers and seed
    repeated: RepeatedTokens | None = None
    texts: TokenBatch | None = None
    task: Task | None = None
    unit: str = "sequences"  # what is read by itself, in the plural
    documents: tuple[int, ...] | None = None  # of each text, where several are of one document; None: all independent

    @property
    def independent(self) -> str:
        """What counts as independent, in the plural."""
        return self.unit if self.documents is None else "documents"

    @property
    def size(self) -> Size:
        """How much there is to read."""
        if self.repeated is not None:
            return Size(len(self.repeated.tokens), 2 * self.repeated.tokens.numel())
        if self.texts is not None:
            return Size(len(self.texts.tokens), int(self.texts.mask.sum()))
        if self.task is not None:
            return Size(len(self.task.pairs), 2 * sum(map(len, self.task.pairs.clean)))
        return Size(0, 0)

    def text_batch(self) -> TokenBatch:
        """The texts; ValueError where the sample is something else."""
        if self.texts is None:
            raise ValueError(f"Sample {self.name!r} has no texts; give repeats(…), text(…) or shipped_text(…).")
        return self.texts

    def task_of(self) -> Task:
        """The task; that of repeats is their induction loss. ValueError where the sample has no pairs."""
        if self.task is not None:
            return self.task
        if self.repeated is None:
            raise ValueError(f"Sample {self.name!r} has no pairs of prompts; give task_sample(…) or repeats(…).")
        return induction_on(self.repeated)


WEIGHTS = Sample("weights", "the weights alone")


def repeats(repeated: RepeatedTokens) -> Sample:
    """Sequences of :func:`lens.analysis.random_tokens.repeated_tokens` with their controls."""
    source = f"{len(repeated.tokens)} sequences of {repeated.n} random tokens, twice; {repeated.description}"
    return Sample("repeats", f"{source}; seed {repeated.seed}", repeated=repeated)


def text(texts: TokenBatch, unit: str = "texts") -> Sample:
    """Somebody's own texts, each a sample by itself."""
    return Sample("text", f"{len(texts.tokens)} {unit}, {int(texts.mask.sum())} tokens", texts=texts, unit=unit)


def shipped_text(model: HookedTransformer, n: int = 16, longest: int = 256, prepend_bos: bool | None = None) -> Sample:
    """The first ``longest`` tokens of ``n`` held-out chapters. ``prepend_bos`` None: the model's own policy."""
    bos = model.bos.id is not None and (model.bos.prepend if prepend_bos is None else prepend_bos)
    texts = beginnings(model, n, bos, longest)
    source = f"{n} {UNIT} of {HELD_OUT_NAME}, {int(texts.mask.sum())} tokens"
    return Sample("shipped text", source, texts=texts, unit=UNIT)


def task_sample(task: Task) -> Sample:
    """Pairs of prompts of a task."""
    return Sample("task", f"{task.name}: {task.description}", task=task, unit="pairs")
