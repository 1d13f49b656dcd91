"""A hash of the weights of an open model: what is kept on disk belongs to these weights and to no others."""

import hashlib
from weakref import WeakKeyDictionary

import torch

from lens.hooked import HookedTransformer

Stamp = tuple[tuple[int, int], ...]
_known: "WeakKeyDictionary[HookedTransformer, tuple[Stamp, str]]" = WeakKeyDictionary()


def stamp(model: HookedTransformer) -> Stamp:
    """Another one after every change of a weight."""
    return tuple((weight.data_ptr(), weight._version) for weight in model.parameters())


def weights_digest(model: HookedTransformer) -> str:
    """Hexadecimal SHA-256 of the configuration and all weights; read again only after a weight has changed."""
    now = stamp(model)
    if model not in _known or _known[model][0] != now:
        digest = hashlib.sha256(repr(model.cfg).encode())
        for name, weight in model.state_dict().items():
            digest.update(name.encode() + weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        _known[model] = (now, digest.hexdigest())
    return _known[model][1]
