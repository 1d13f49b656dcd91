"""Names of checkpoints: which name stands for which step, and when a training run saved."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Literal

from lens.load.entries import ASSETS

WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pth", ".pt")
FIELD = re.compile(r"\{(step|tokens)(?::0\d+)?\}")


@dataclass(frozen=True)
class Pattern:
    """Names with one number in them: ``step{step}``, ``checkpoints/tokens_{tokens:012}.pth``, ``run-*-step{step}``.

    ``{step}`` and ``{tokens}`` say what the number counts, ``:012`` how it is padded, ``*`` is anything but a slash.
    """

    text: str

    def __post_init__(self) -> None:
        if len(FIELD.findall(self.text)) != 1 or set(FIELD.sub("", self.text)) & set("{}"):
            raise ValueError(
                f"The pattern {self.text!r} must hold the number once, as {{step}} or {{tokens}}: for example "
                "'step{step}' or 'checkpoints/model-{tokens:012}.safetensors'."
            )

    @property
    def unit(self) -> Literal["steps", "tokens"]:
        """What the number counts."""
        return "tokens" if FIELD.search(self.text)[1] == "tokens" else "steps"

    @property
    def is_file(self) -> bool:
        """Whether the names are those of weight files."""
        return self.text.endswith(WEIGHT_SUFFIXES)

    def name(self, label: int) -> str:
        """The name of a checkpoint; for patterns without ``*``."""
        return self.text.format(step=label, tokens=label)

    def matches(self, names: Iterable[str]) -> dict[int, str]:
        """Number → name, in order of the numbers. ValueError if two names have one number."""
        before, after = (re.escape(part).replace(r"\*", "[^/]*") for part in FIELD.sub("\0", self.text).split("\0"))
        regex, found = re.compile(rf"{before}(\d+){after}"), {}
        for name in names:
            match = regex.fullmatch(name)
            if match is not None and found.setdefault(int(match[1]), name) != name:
                raise ValueError(
                    f"{found[int(match[1])]!r} and {name!r} are both number {int(match[1])} of the pattern "
                    f"{self.text!r}. Give a narrower pattern."
                )
        return dict(sorted(found.items()))


@dataclass(frozen=True)
class Kind:
    """How the checkpoints of some models are named, and, where it is known, at which numbers they were saved.

    ``whole_steps``: labels that count tokens are multiples of the tokens of a step, and nothing larger divides all.
    """

    patterns: tuple[Pattern, ...]
    labels: tuple[int, ...] = ()
    tokens_per_step: int | None = None
    whole_steps: bool = False

    @classmethod
    def of(cls, values: dict) -> "Kind":
        """From its row in ``assets/checkpoints.json``."""
        labels = list(values.get("labels", ()))
        for start, stop, stride in values.get("ranges", ()):
            labels += range(start, stop, stride)
        if "max_tokens" in values:
            labels = toy_labels(values["max_tokens"], values["tokens_per_step"])
        patterns = tuple(map(Pattern, values["patterns"]))
        return cls(patterns, tuple(labels), values.get("tokens_per_step"), whole_steps=True)


@cache
def kind_of(name: str) -> Kind:
    """The kind of checkpoints of that name."""
    return Kind.of(json.loads((ASSETS / "checkpoints.json").read_text("utf-8"))[name])


def toy_labels(max_tokens: int, tokens_per_step: int) -> list[int]:
    """When Neel Nanda's toy models saved: tokens seen, dense at the start of training and sparser later.

    A list of fractions of the run is walked; the first step at or past the next one is saved after it, at most one
    fraction a step, so the last fraction, the end itself, is never reached.
    Source: https://github.com/neelnanda-io/TransformerLens, and the lists of files in the repositories.
    """
    fractions = [i / 10 * 1e-3 for i in range(10)] + [i / 20 * 1e-2 for i in range(2, 20)]
    fractions += [i / 50 * 0.1 for i in range(5, 50)] + [i / 100 for i in range(10, 101)]
    labels: list[int] = []
    for step in range(max_tokens // tokens_per_step + 1):
        if len(labels) < len(fractions) and step * tokens_per_step / max_tokens >= fractions[len(labels)]:
            labels.append((step + 1) * tokens_per_step)
    return labels
