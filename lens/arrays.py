"""The one way from arrays to tensors. The way back is numpy's own: ``np.asarray`` of a tensor, or ``.numpy()``.

Results that are kept for all visitors, or read from a file, are arrays that nobody may write into. A tensor cannot say
so of its memory, and torch warns of every array that it would share it with.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor


def as_tensor(values: Any) -> Tensor:
    """``values`` as a tensor: a tensor itself, an array copied, what else torch takes (numbers, lists) read."""
    return torch.from_numpy(values.copy()) if isinstance(values, np.ndarray) else torch.as_tensor(values)
