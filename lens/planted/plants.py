"""The planted models in words: what was planted where, and what follows from it. Imports no torch."""

from typing import NamedTuple

from lens.planted import closed_form as exact
from lens.planted.layout import COPY, D_VOCAB, DISTANCE, GAIN, INDUCTION, PREVIOUS, SECOND, TWIN, N


class Plant(NamedTuple):
    """One planted model. ``facts`` are its closed forms; ``heads`` the (layer, head) to look at first."""

    name: str
    what: str
    facts: tuple[str, ...]
    heads: tuple[tuple[int, int], ...]


def _at(head: tuple[int, int]) -> str:
    return f"{head[0]}.{head[1]}"


_HEAD, _TWIN, _BEFORE = _at(INDUCTION), _at(SECOND), _at(PREVIOUS)
_FINDS = f"A[q, q−n+1] = 1 on repeats and 0 on their control (1 − e⁻²⁰ and e⁻²⁰); previous-token head {_BEFORE}: 1"
_COMPOSES = f"K-composition {_BEFORE} → {_HEAD}: 1/√{D_VOCAB} = {exact.composition():.3f}, by chance 1/√256 = .0625"

PLANTS = (
    Plant(
        "planted-induction",
        f"A complete induction circuit: head {_BEFORE} writes the token before into the stream, head {_HEAD} looks for "
        "the place where that token is the one it reads, and copies what stands there.",
        (
            _FINDS,
            _COMPOSES,
            "copying score Σλ/Σ|λ| = 1",
            f"logit of the right token {COPY:g} above every other: its loss is ln(1 + 63 e^−{COPY:g}) = "
            f"{exact.loss(COPY):.4f} nats, against ln 64 = {exact.UNIFORM:.3f} in the first copy",
            f"without head {_HEAD}, or without head {_BEFORE}, all {COPY:g} logits are gone",
        ),
        (INDUCTION, PREVIOUS),
    ),
    Plant(
        "planted-decoy",
        f"The same attention, but head {_HEAD} writes where the unembedding does not read: it looks like induction and "
        "does nothing.",
        (
            _FINDS,
            _COMPOSES,
            "copying score near 0: only the noise in its weights reaches the logits",
            f"logit difference 0 (below {1e-3:g}); without the head nothing changes",
        ),
        (INDUCTION, PREVIOUS),
    ),
    Plant(
        "planted-offset",
        f"Head {_HEAD} looks exactly {DISTANCE} tokens back, whatever stands there, and copies it. On blocks of "
        f"n = {N} tokens that is the right place, by accident; n must be {N} for this plant.",
        (
            f"A[q, q−{DISTANCE}] = 1 on repeats of {N} tokens, and 1 on their control: difference 0",
            "K-composition: none above chance; it reads positions only",
            "copying score 1: it does copy",
            f"at n = {N} it repeats perfectly; at n = 20 it is wrong with {COPY:g} logits, and its loss rises by "
            f"{-exact.offset_saving(20, DISTANCE):.2f} nats",
            "zero ablation takes 10 logits; with its values of the control run instead, nothing changes",
        ),
        (INDUCTION, PREVIOUS),
    ),
    Plant(
        "planted-anticopy",
        f"Induction attention with the sign of the copy turned: head {_HEAD} lowers the logit of the token that should "
        "follow.",
        (
            _FINDS,
            _COMPOSES,
            "copying score −1",
            f"logit of the right token {COPY:g} below every other; without the head it rises by {COPY:g}",
            f"the loss of the second copy is {exact.loss(-COPY):.2f} nats, against {exact.UNIFORM:.2f} in the first",
        ),
        (INDUCTION, PREVIOUS),
    ),
    Plant(
        "planted-redundant",
        f"Two equal induction heads, {_HEAD} and {_TWIN}, and a final norm (RMS, gain {GAIN:g}) that one of them "
        "already saturates.",
        (
            _FINDS,
            _COMPOSES,
            "copying score 1 for both",
            f"each writes {TWIN:g}: logit {exact.saturated(2):.3f} with both, {exact.saturated(1):.3f} with one, "
            f"0 with none; alone each seems to matter by {exact.saturated(2) - exact.saturated(1):.3f}",
            f"direct attribution gives each half of the logit, {exact.twin_share():.3f}",
        ),
        (INDUCTION, SECOND, PREVIOUS),
    ),
    Plant(
        "planted-random",
        "The control: the shape of planted-induction with Gaussian weights, each matrix of the same Frobenius norm.",
        ("no closed form: every instrument must stay inside its null",),
        (INDUCTION,),
    ),
)
NAMES = tuple(plant.name for plant in PLANTS)
N_PARAMS = {name: 591_936 + 256 * (name == "planted-redundant") for name in NAMES}  # the gains of its norm
NOTE = "Weights written by hand: a test object for instruments, not a trained model."


def plant(name: str) -> Plant:
    """The plant of that name; KeyError lists the names."""
    for one in PLANTS:
        if one.name == name:
            return one
    raise KeyError(f"no planted model is called {name!r}; there are {', '.join(NAMES)}")
