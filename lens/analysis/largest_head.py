"""The head that stands first by some number. Imports no torch."""

import numpy as np
from jaxtyping import Float

from lens.analysis.names import Head


def largest_head(values: Float[np.ndarray, "layer head"]) -> Head:
    """The head with the largest of ``values``, the earliest of equals; NaN is never the largest."""
    values = np.asarray(values)
    known = np.where(np.isnan(values), -np.inf, values)
    return Head(*divmod(int(known.argmax()), known.shape[1]))
