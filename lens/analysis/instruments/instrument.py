"""What an instrument is made of: its words, what it needs and costs, and how it is measured. Imports no torch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

    from lens.analysis.instruments.layout import Entries, Layout, Pattern
    from lens.analysis.instruments.sample import Sample
    from lens.analysis.score_results import HeadScore, Kind, Scale
    from lens.config import Config
    from lens.hooked import HookedTransformer
    from lens.progress import Progress

Link = Literal["attends", "scores", "copies", "is fed", "matters"]
LINKS: tuple[Link, ...] = ("attends", "scores", "copies", "is fed", "matters")  # of the chain, in its order
SampleName = Literal["repeats", "text", "shipped text", "weights", "task"]
PATTERN_SAMPLES: tuple[SampleName, ...] = ("repeats", "text", "shipped text")
SAMPLES: Mapping[SampleName, str] = {
    "repeats": "random tokens that repeat, with their control",
    "text": "texts of one's own",
    "shipped text": "beginnings of the held-out chapters that come with Lens",
    "weights": "the weights alone",
    "task": "pairs of prompts of a task",
}
CONTROL = "the same queries and keys on the paired control, where other tokens follow the first copy"
COMPARED = f"{CONTROL} (a comparison: what the head does where nothing repeats)"

FOUND, REJECTED, INSIDE = "found", "rejected", "inside the null"


class Expected(NamedTuple):
    """What is known of a planted model beforehand. ``value`` None: only the verdict is."""

    verdict: str
    value: float | None = None


def by_model(
    induction: Expected, decoy: Expected, offset: Expected, anticopy: Expected, redundant: Expected
) -> dict[str, Expected]:
    """By planted model; planted-random is always inside the null."""
    planted = {"induction": induction, "decoy": decoy, "offset": offset, "anticopy": anticopy, "redundant": redundant}
    return {f"planted-{name}": one for name, one in (planted | {"random": Expected(INSIDE)}).items()}


class Size(NamedTuple):
    """How much a sample gives to read: both sides of pairs, and controls, counted. Zero for weights."""

    sequences: int
    tokens: int


class Cost(NamedTuple):
    """What a measurement takes: ``tokens`` pass through all layers; ``operations`` are those of anything else.

    In the units of ``lens.ui.estimate``: a token costs two operations per weight that multiplies.
    """

    tokens: int
    operations: int = 0


@dataclass(frozen=True)
class Words:
    """What is said of a number where it is measured on another sample than its usual one."""

    definition: str
    null: str
    formula: str
    misreading: str


def never(cfg: "Config") -> str | None:
    """No configuration is refused."""


def any_words(model: "HookedTransformer") -> str | None:
    """No tokenizer is refused."""


@dataclass(frozen=True)
class Needs:
    """What an instrument needs. ``samples``: any one of them, the usual one first."""

    samples: tuple[SampleName, ...]
    layers: int = 1
    vocabulary: int = 1  # tokens
    refuses: "Callable[[Config], str | None]" = never  # why a model of this structure has no such number
    words: "Callable[[HookedTransformer], str | None]" = any_words  # why the tokenizer lacks the words that it takes

    def why_not(self, model: "HookedTransformer", sample: SampleName | None = None) -> str:
        """Why it cannot be measured in ``model``, on such a sample, as a half sentence; "" if it can."""
        wanted = self.samples[0] if sample is None else sample
        if wanted not in self.samples:
            return f"it is measured on {' or '.join(SAMPLES[one] for one in self.samples)}"
        if wanted in ("text", "shipped text") and model.tokenizer is None:
            return "this model has no tokenizer and reads no text"
        return self.lacks_in(model)

    def lacks_in(self, model: "HookedTransformer") -> str:
        """What this model lacks for it, its tokenizer included; "" if nothing."""
        return self.lacks(model.cfg) or self.words(model) or ""

    def lacks(self, cfg: "Config") -> str:
        """What models of this structure lack for it, whatever the sample; "" if nothing."""
        if cfg.n_layers < self.layers:
            return f"it needs {self.layers} layers and this model has {cfg.n_layers}"
        if cfg.d_vocab < self.vocabulary:
            return f"it needs a vocabulary of {self.vocabulary} tokens and this model has {cfg.d_vocab}"
        return self.refuses(cfg) or ""


@dataclass(frozen=True, kw_only=True)
class OfPattern:
    """How a number is read off one attention pattern: weighted ``entries``, or else any ``value`` of it.

    ``absent``: why a text can be without it.
    """

    entries: "Callable[[Layout], Entries] | None" = None
    value: "Callable[[Pattern, Layout], Tensor] | None" = None  # [batch, head]
    absent: str = "no text has two tokens"


Measure = Callable[["HookedTransformer", "Sample", "Progress"], "HeadScore"]


def one_pass(cfg: "Config", size: Size) -> Cost:
    """Every token once through all layers; patterns that are asked together share it."""
    return Cost(size.tokens)


@dataclass(frozen=True, kw_only=True)
class Instrument:
    """One number per head. ``definition`` and the other words are about its usual sample, the first in ``needs``."""

    name: str  # also a value of addresses: never renamed
    title: str
    unit: str
    link: Link  # of the chain
    definition: str
    null: str  # what it is compared with
    source: str  # a paper; "" where the number is no one's in particular
    formula: str  # LaTeX
    misreading: str  # what not to conclude
    needs: Needs
    cost: "Callable[[Config, Size], Cost]" = one_pass
    tested: bool = True  # whether the null gives a verdict; else the number describes
    scale: "Scale" = "positive"  # which of its numbers stand out
    on_text: Words | None = None  # where texts need other words
    cells: str = ""  # what the entries that it adds up are, in a legend: "the token before"
    habit: str = ""  # "heads …": what a head above chance does
    fooled_by: str = ""  # what it reports wrongly about planted models, with its control or without
    expected: Mapping[str, Expected] = field(default_factory=dict)  # by planted model; empty where nothing is tested
    pattern: OfPattern | None = None
    of_model: Measure | None = None  # of all others

    def __post_init__(self) -> None:
        if (self.pattern is None) == (self.of_model is None):
            raise ValueError(f"Instrument {self.name}: give pattern= or of_model=, one of the two.")
        if self.link not in LINKS:
            raise ValueError(f"Instrument {self.name}: link={self.link!r}; the chain has {', '.join(LINKS)}.")

    def measure(self, model: "HookedTransformer", sample: "Sample", progress: "Progress | None" = None) -> "HeadScore":
        """The number of every head on ``sample``. ValueError with the reason where there is none.

        Several instruments: :func:`lens.analysis.instruments.measure.measure`, which reads patterns once for all.
        """
        from lens.analysis.instruments.measure import measure  # the registry of instruments imports no torch

        scores = measure(model, [self], [sample], **({} if progress is None else {"progress": progress}))
        if self.name in scores.missing:
            raise ValueError(f"{self.title} of {model.name}: {scores.missing[self.name]}.")
        return scores[self.name]

    def words(self, sample: SampleName | None = None) -> Words:
        """What is said of the number on this sample."""
        if self.on_text is not None and sample in ("text", "shipped text"):
            return self.on_text
        return Words(self.definition, self.null, self.formula, self.misreading)

    def kind(self, sample: SampleName | None = None, unit: str = "", here: str = "") -> "Kind":
        """The words that travel with its scores. ``unit``: of the task's metric; ``here``: numbers of this sample."""
        from lens.analysis.score_results import Kind  # the registry of instruments imports no torch

        words = self.words(sample)
        source = f"Source: {self.source}." if self.source else ""
        text = " ".join(filter(None, (words.definition, here, source)))
        alone = self.pattern is not None and not self.tested and sample in ("text", "shipped text")
        return Kind(self.name, unit or self.unit, text, "none" if alone else words.null, self.tested, self.scale)

    def reads(self, layout: "Layout") -> list[tuple[int, int]]:
        """The (query, key) cells of the first sequence of ``layout`` that the number adds up; none for an entropy."""
        if self.pattern is None or self.pattern.entries is None:
            return []
        cells: Any = self.pattern.entries(layout).score[0]
        return [(query, key) for query, key in cells.nonzero().tolist()]
