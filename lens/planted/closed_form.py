"""What the instruments must read on the planted models, by hand: from the layout alone, without running anything."""

from math import exp, log, sqrt

from lens.planted.layout import COPY, D_MODEL, D_VOCAB, GAIN, THRESHOLD, TWIN

# Squared length of the stream that enters layer 1 at a late position: token, token before, four digits of the position.
STREAM = 6.0
UNIFORM = log(D_VOCAB)  # nats: the loss where no head has found anything to copy


def composition() -> float:
    """K-composition of the previous-token head with an induction head: 1/√d_vocab.

    W_OV is the identity from TOKEN to BEFORE (rank and squared norm 64), W_QKᵀ the identity from BEFORE back to TOKEN
    (63: BOS is left out), so the product has squared norm 63: √63 / (√64 √63).
    """
    return 1 / sqrt(D_VOCAB)


def loss(logit: float) -> float:
    """Loss in nats where the right token has this logit and all others have 0: ln(1 + (d_vocab − 1) e^−logit)."""
    return log(1 + (D_VOCAB - 1) * exp(-logit))


def saving(logit: float) -> float:
    """How much lower the loss of the second copy is, nats; the first copy is uniform."""
    return UNIFORM - loss(logit)


def offset_saving(n: int, distance: int) -> float:
    """Saving of a head that copies from ``distance`` back on blocks of ``n`` < distance + 1 tokens.

    It predicts a wrong token with COPY logits wherever the key it looks at is not BOS, which it does not copy.
    """
    queries = range(n + 1, 2 * n)
    wrong = sum(q > distance for q in queries)
    confident = log(exp(COPY) + D_VOCAB - 1)
    return UNIFORM - (wrong * confident + (len(queries) - wrong) * UNIFORM) / len(queries)


def saturated(n_heads: int) -> float:
    """Logit of the copied token in planted-redundant with ``n_heads`` of its two heads: GAIN √d_model w/√(STREAM + w²).

    w = ``n_heads`` · TWIN is what they write together: the norm hardly notices the second one.
    """
    wrote = n_heads * TWIN
    return GAIN * sqrt(D_MODEL) * wrote / sqrt(STREAM + wrote**2)


def first_order_twin() -> float:
    """What one head of planted-redundant would add if the norm did not notice it: the slope of ``saturated`` at 0."""
    return GAIN * sqrt(D_MODEL) * TWIN / sqrt(STREAM)


def twin_share() -> float:
    """What direct attribution gives to each head of planted-redundant: half of the logit, with the run's scale."""
    return saturated(2) / 2


def neuron_share() -> float:
    """What the neuron of the right token adds to its logit in planted-redundant, of all that stands in OUT."""
    heads = 2 * TWIN
    wrote = heads - THRESHOLD
    return GAIN * sqrt(D_MODEL) * wrote / sqrt(STREAM + (heads + wrote) ** 2)


def one_of_two() -> float:
    """How far the loss rises in planted-redundant, nats, where one of its two heads does not see what it copies."""
    return loss(saturated(1)) - loss(saturated(2))
