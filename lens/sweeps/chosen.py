"""Which checkpoints of a run are meant: ``log:20``, ``all``, ``last``, ``0,10,25``, ``at:0,512,1000``."""

from collections.abc import Sequence

import numpy as np

from lens.load.checkpoints import Checkpoints

FORMS = (
    "all; last; log:20 (that many, spread evenly over the logarithm of training, first and last among them); "
    "0,10,-1 (places in the list of checkpoints, negative from the end); at:0,512,1000 (by steps or tokens)"
)


def chosen_checkpoints(run: Checkpoints, text: str) -> list[int]:
    """The indices that ``text`` means, ascending, each once. ValueError says which forms there are."""
    form, _, rest = text.partition(":")
    if text == "all":
        return list(range(len(run)))
    if text == "last":
        return [len(run) - 1]
    if form == "log":
        return sorted(spread(run.labels, _whole(rest, text, at_least=1)))
    if form == "at":
        return sorted({run.at(value=_whole(part, text)).index for part in rest.split(",")})
    return sorted({run.at(_whole(part, text)).index for part in text.split(",")})


def spread(labels: Sequence[int], count: int) -> list[int]:
    """Places of ``count`` of the ascending ``labels``, all if there are fewer, that lie evenly in their logarithm.

    First the last, then the first, then always the one farthest from all so far: fewer are a beginning of more, so
    that a finer sweep computes only what a coarser one has not. Zero counts as far from the smallest label as double.
    """
    smallest = next((label for label in labels if label > 0), 1)
    place = np.log2(1 + np.asarray(labels, float) / smallest)
    order = [len(labels) - 1]
    distance = np.abs(place - place[-1])
    while len(order) < min(count, len(labels)):
        order.append(int(distance.argmax()))
        distance = np.minimum(distance, np.abs(place - place[order[-1]]))
    return order


def _whole(part: str, text: str, at_least: int | None = None) -> int:
    try:
        number = int(part)
    except ValueError:
        number = None
    if number is None or (at_least is not None and number < at_least):
        raise ValueError(f"{text!r} names no checkpoints. Write one of: {FORMS}.")
    return number
