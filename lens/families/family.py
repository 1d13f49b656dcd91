"""What an architecture is: a reading of its config and a table of its weights. Nothing here computes."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from math import prod
from typing import Any, NamedTuple, Self

import torch
from einops import EinopsError, rearrange, repeat
from torch import Tensor

from lens.config import Config
from lens.families.attributes import Attributes
from lens.model import Transformer, within_layer

Rows = Mapping[str, tuple[str, str]]
PACKED = re.compile(r"\w+(?:\|\w+)+")  # several parts along one axis, as in "(head|head|head d_head)"
# What calculating with a config of the wrong kinds of values raises: words where numbers were wanted, lists for words.
WRONG_KIND = (TypeError, AttributeError, OverflowError, ZeroDivisionError, KeyError, IndexError)
ROWS = 4096  # of two vocabulary matrices that are compared at a time
HEAD = r"(.*\.)?(lm_head|embed_out)\.weight"


class Source(NamedTuple):
    """Where some parameters of ours come from: the tensors of the file that are stacked, and how they are laid out."""

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    pattern: str


@dataclass(frozen=True)
class Family:
    """One architecture as data.

    ``weights`` and ``layer_weights`` map our parameter to the name in the file and an einops pattern whose sizes come
    from the config. What the table leaves out the architecture does not have: our bias is zero then, our gain one.

    - ``"attn.W_Q|attn.W_K|attn.W_V"``: one tensor holds several; the pattern names the parts along the packed axis,
      ``"(head|kv_head|kv_head d_head) d_model -> head|kv_head|kv_head d_model d_head"``. A part ``_`` is skipped.
    - ``"ln1.w+ln2.w"``: both are this tensor.
    - ``"lm_head.weight or embed_out.weight"``: the file uses one of these names.
    - ``"norms.{head}.weight"``: one tensor per head, stacked in the order of the heads.

    ``variants`` returns further rows of a layer, which depend on the config file. ``prefixes`` may or may not stand
    before a name; ``unused`` are patterns of names that hold no weight. ``gain_offset`` is what their gains lack to
    ours. ``x_at_W``: the matrices of the layers lie as ``x @ W`` wants them, [in, out]; elsewhere they are [out, in].
    """

    model_type: str
    read: Callable[[Attributes], Config]
    weights: Rows
    layer: str
    layer_weights: Rows
    prefixes: tuple[str, ...]
    variants: Callable[[Attributes], Rows] = lambda hf: {}
    gain_offset: float = 0.0
    x_at_W: bool = False
    unused: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def bound_to(self, hf_config: Mapping[str, Any]) -> Self:
        """This family with the rows of one config file."""
        try:
            rows = self.variants(Attributes(self.defaults | hf_config))
        except WRONG_KIND as error:
            raise ValueError(f"The config holds a value of the wrong kind ({error}).") from error
        return replace(self, layer_weights={**self.layer_weights, **rows})

    def config(self, hf_config: Mapping[str, Any]) -> Config:
        """Our config from theirs; ValueError names an attribute that Lens does not compute."""
        attributes = Attributes(self.defaults | hf_config)
        attributes.refuse_quantised()
        try:
            cfg = self.read(attributes)
            rows = [*self.weights, *self.layer_weights, *self.variants(attributes)]
        except WRONG_KIND as error:
            raise ValueError(
                f"The config of this {self.model_type} model holds a value of the wrong kind ({error}). It is damaged, "
                "or of a version that Lens does not know."
            ) from error
        attributes.refuse_unread()
        return replace(cfg, absent=absent(cfg, {name for row in rows for name in re.split(r"[|+]", row)}))

    def sources(self, cfg: Config, names: set[str]) -> list[Source]:
        """The whole table for a model of this size, in names that the file has; ValueError for one that it lacks."""
        return [
            Source(
                tuple(block + one if one != "_" else "" for one in re.split(r"[|+]", ours)),
                tuple(self.find(one, names) for one in self.stacked(theirs, cfg)),
                pattern,
            )
            for block, ours, theirs, pattern in self._rows(cfg)
        ]

    def _rows(self, cfg: Config) -> list[tuple[str, str, str, str]]:
        """The block of ours and the name in it, theirs, and the pattern, of every row."""
        rows = [("", ours, *row) for ours, row in self.weights.items() if not (cfg.tied and ours == "unembed.W_U")]
        for layer in range(cfg.n_layers):
            before = self.layer.format(layer)
            for ours, (theirs, pattern) in self.layer_weights.items():
                rows.append((f"blocks.{layer}.", ours, f"{before}.{theirs}", pattern))
        return rows

    def shapes(self, cfg: Config) -> dict[str, tuple[int, ...]]:
        """Every tensor that a file of a model of this size holds, by its first name, with its shape."""
        return {
            name: _shape(pattern, cfg)
            for _, _, theirs, pattern in self._rows(cfg)
            for name in self.stacked(theirs.split(" or ")[0], cfg)
        }

    def heads(self, names: Collection[str]) -> list[str]:
        """The names under which a file holds an output matrix; without one, the model's is the embedding."""
        return [name for name in names if re.fullmatch(HEAD, name)]

    def stacked(self, theirs: str, cfg: Config) -> list[str]:
        """One name, or one for each entry of the axis in braces."""
        axis = re.search(r"\{(\w+)\}", theirs)
        return [theirs.replace(axis[0], str(i)) for i in range(cfg.axes[axis[1]])] if axis else [theirs]

    def find(self, theirs: str, names: set[str]) -> str:
        """The name under which the file holds ``theirs``: with a base prefix or without one."""
        for name in theirs.split(" or "):
            bare = next((name.removeprefix(p) for p in self.prefixes if name.startswith(p)), name)
            for candidate in (name, bare, *(prefix + bare for prefix in self.prefixes)):
                if candidate in names:
                    return candidate
        raise ValueError(
            f"The weights of this {self.model_type} model lack {theirs!r}. The file is incomplete or of another kind."
        )


def as_it_is(name: str, tensor: Tensor) -> Tensor:
    """A parameter that stays where it was read."""
    return tensor


def has_head_of_its_own(family: Family, tensors: Mapping[str, Tensor]) -> bool:
    """Whether a file holds an output matrix that is not the embedding, whatever its config says of them."""
    heads = family.heads(tensors)
    if not heads:
        return False
    embed = tensors[family.find(family.weights["embed.W_E"][0], set(tensors))]
    return not all(_same_numbers(tensors[name], embed) for name in heads)


def _same_numbers(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape:
        return False
    if one.data_ptr() == other.data_ptr():
        return True
    rows = zip(one.split(ROWS), other.split(ROWS), strict=True)  # a few rows at a time: the comparison needs memory
    return all(torch.equal(a, b) or torch.allclose(a, b, rtol=0, atol=0, equal_nan=True) for a, b in rows)


def convert(
    family: Family,
    cfg: Config,
    tensors: Mapping[str, Tensor],
    place: Callable[[str, Tensor], Tensor] = as_it_is,
) -> dict[str, Tensor]:
    """Our state dict from the file's tensors, each read once and, where the layouts agree, not copied.

    ``place`` moves each parameter to its device as soon as it is made. ValueError names a tensor that is missing, left
    over, or of the wrong size.
    """
    names = set(tensors)
    sources = family.sources(cfg, names)
    _refuse_left_over(family, cfg, names - {name for source in sources for name in source.theirs})
    state: dict[str, Tensor] = {}
    for ours, theirs, pattern in sources:
        tensor = torch.stack([tensors[name] for name in theirs]) if len(theirs) > 1 else tensors[theirs[0]]
        parts = list(_parts(tensor, theirs[0], pattern, cfg))
        if len(parts) == 1:  # each parameter has memory of its own, so that it can be changed alone
            parts += [parts[0].clone() for _ in ours[1:]]
        for name, part in zip(ours, parts, strict=True):
            if name:
                state[name] = place(name, in_memory_order(name, _with_offset(name, part, family.gain_offset)))
    if cfg.tied:
        state["unembed.W_U"] = state["embed.W_E"].T
    return {name: place(name, tensor) for name, tensor in with_neutral(cfg, state).items()}


def _refuse_left_over(family: Family, cfg: Config, left: set[str]) -> None:
    head = (HEAD,) if cfg.tied else ()  # a second copy of the embedding, which ``has_head_of_its_own`` compared
    unused = (*family.unused, r".*rotary_emb\.inv_freq", *head)
    left = sorted(name for name in left if not any(re.fullmatch(pattern, name) for pattern in unused))
    if left:
        raise ValueError(
            f"{family.model_type}: {len(left)} tensors have no place in Lens, for example {', '.join(left[:3])}."
        )


def _parts(tensor: Tensor, theirs: str, pattern: str, cfg: Config) -> Iterator[Tensor]:
    """The tensor in our layout; of a packed one, each part in turn."""
    packed = PACKED.search(pattern)
    if packed is None:
        yield _fit(repeat, tensor, theirs, pattern, cfg.axes)
        return
    sizes = [cfg.axes[word] if word in cfg.axes else int(word) for word in packed[0].split("|")]
    left, right = pattern.replace(packed[0], "part").split(" -> ")
    apart = re.sub("[()]", "", left)
    whole = _fit(rearrange, tensor, theirs, f"{left} -> {apart}", cfg.axes | {"part": sum(sizes)})
    for size, piece in zip(sizes, whole.split(sizes, dim=apart.split().index("part")), strict=True):
        yield _fit(rearrange, piece, theirs, f"{apart} -> {right}", cfg.axes | {"part": size})


def _shape(pattern: str, cfg: Config) -> tuple[int, ...]:
    """Shape of a tensor in the file: the left side of its pattern, in numbers."""

    def size(words: str) -> int:
        parts = ([cfg.axes.get(one) or int(one) for one in word.split("|")] for word in words.split())
        return prod(map(sum, parts))

    left = pattern.split(" -> ")[0]
    return tuple(size(group or word) for group, word in re.findall(r"\(([^)]*)\)|([^\s()]+)", left))


def _fit(move: Callable, tensor: Tensor, theirs: str, pattern: str, sizes: Mapping[str, int]) -> Tensor:
    used = {axis: size for axis, size in sizes.items() if re.search(rf"\b{axis}\b", pattern)}
    try:
        return move(tensor, pattern, **used)
    except EinopsError as error:
        raise ValueError(
            f"{theirs!r} has shape {list(tensor.shape)}; the config wants '{pattern}' with {used}."
        ) from error


def _with_offset(ours: str, tensor: Tensor, offset: float) -> Tensor:
    return (tensor.float() + offset).to(tensor.dtype) if offset and ours.endswith(".w") else tensor


def in_memory_order(ours: str, tensor: Tensor) -> Tensor:
    """W_Q, W_K, W_V so that the forward sees all heads as one matrix without re-arranging; copied only if need be."""
    if ours.endswith(("attn.W_Q", "attn.W_K", "attn.W_V")):
        one_row = tensor.stride(0) == tensor.shape[2] * tensor.stride(2)  # the dimensions of all heads, evenly spaced
        return tensor if one_row and 0 not in tensor.stride() else tensor.mT.contiguous().mT
    return tensor.contiguous() if 0 in tensor.stride() else tensor  # an axis that the file does not have


def with_neutral(cfg: Config, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``state`` with zeros for the biases and ones for the gains that an architecture does not have."""
    like, added = state["embed.W_E"], {}
    for name, shape in parameter_shapes(cfg).items():
        last = name.rsplit(".", 1)[-1]
        if name not in state and last.startswith("W_"):
            raise ValueError(f"The weights lack {name}, {list(shape)}, which this structure has.")
        if name not in state:
            added[name] = torch.full(shape, float(last == "w"), dtype=like.dtype, device=like.device)
    return {**state, **added}


def absent(cfg: Config, present: Collection[str]) -> tuple[str, ...]:
    """The biases and gains of this structure that an architecture lacks, whose parameters ``present`` names."""
    one_layer = replace(cfg, n_layers=1, windows=cfg.windows and cfg.windows[:1])
    names = (within_layer(name) for name in parameter_shapes(one_layer))
    return tuple(name for name in names if name not in present and not name.rsplit(".", 1)[-1].startswith("W_"))


@cache
def parameter_shapes(cfg: Config) -> dict[str, torch.Size]:
    """Every parameter of a model of this structure."""
    with torch.device("meta"):
        return {name: parameter.shape for name, parameter in Transformer(cfg).named_parameters()}
