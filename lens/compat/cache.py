"""``transformer_lens.ActivationCache``: stacks of components with the arguments that notebooks use.

Thin: what they compute is in :mod:`lens.decompose` and :mod:`lens.readout`, as functions with named results.
"""

from typing import Self

import torch
from torch import Tensor

from lens import decompose, readout
from lens.cache import ActivationCache as Plain
from lens.compat.slices import Slice, SliceInput
from lens.decompose import Index, Stack

Labelled = Tensor | tuple[Tensor, list[str]]
MODES = {"all": ("embed", "attn", "mlp"), "attn": ("embed", "attn"), "mlp": ("embed", "mlp")}


def _classic(stack: Stack, return_labels: bool) -> Labelled:
    return tuple(stack) if return_labels else stack.values


def _index(part: SliceInput) -> Index:
    return Slice(part).slice


class ActivationCache(Plain):
    """The classic cache. Its methods share arguments.

    ``layer``: the layer that reads the stream; None and −1 are the unembedding. ``apply_ln``: as that reader sees it.
    ``return_labels``: a tuple (components, labels). ``project_output_onto``: in place of the components their products
    with one direction [d_model] or several [d_model, output], without ever holding all neurons in full.
    """

    @property
    def cache_dict(self) -> dict[str, Tensor]:
        """The activations under their full names."""
        return self.activations

    @property
    def has_embed(self) -> bool:
        """Whether the embedding was kept."""
        return "hook_embed" in self.activations

    @property
    def has_pos_embed(self) -> bool:
        """Whether the embedding of positions was kept."""
        return "hook_pos_embed" in self.activations

    def toggle_autodiff(self, mode: bool = False) -> None:
        """Switch gradients on or off, for everything that follows."""
        torch.set_grad_enabled(mode)

    def apply_slice_to_batch_dim(self, batch_slice: SliceInput) -> Self:
        """The same activations of some sequences only."""
        part = Slice(batch_slice).slice
        return self.slice_batch(part)

    def _of_batch(self, batch_slice: SliceInput) -> Self:
        return self if batch_slice is None or not self.has_batch_dim else self.apply_slice_to_batch_dim(batch_slice)

    def accumulated_resid(
        self,
        layer: int | None = None,
        incl_mid: bool = False,
        apply_ln: bool = False,
        pos_slice: SliceInput = None,
        mlp_input: bool = False,
        return_labels: bool = False,
    ) -> Labelled:
        """:func:`~lens.decompose.streams`; ``apply_ln`` normalises each stream by its own statistics."""
        pos = _index(pos_slice)
        stack = decompose.streams(self, layer, incl_mid, mlp_input, pos)
        if apply_ln:
            stack = stack._replace(values=readout.normalised_streams(self, stack.values, layer, mlp_input))
        return _classic(stack, return_labels)

    def decompose_resid(
        self,
        layer: int | None = None,
        mlp_input: bool = False,
        mode: str = "all",
        apply_ln: bool = False,
        pos_slice: SliceInput = None,
        incl_embeds: bool = True,
        return_labels: bool = False,
    ) -> Labelled:
        """:func:`~lens.decompose.by_layer`; ``mode``: "all", "attn" or "mlp"."""
        pos = _index(pos_slice)
        if mode not in MODES:
            raise ValueError(f"decompose_resid: mode={mode!r}; it must be 'all', 'attn' or 'mlp'.")
        kinds = MODES[mode] if incl_embeds else MODES[mode][1:]
        stack = decompose.by_layer(self, layer, mlp_input, kinds, pos)
        return _classic(self._seen(stack, apply_ln, layer, mlp_input, pos), return_labels)

    def _seen(
        self, stack: Stack, apply_ln: bool, layer: int | None, mlp_input: bool = False, pos: Index = None
    ) -> Stack:
        if not apply_ln:
            return stack
        return stack._replace(values=readout.scaled_components(self, stack.values, layer, mlp_input, pos))

    def _reads(self, onto: Tensor | None, apply_ln: bool, layer: int | None, mlp_input: bool = False) -> Tensor | None:
        """The directions that the raw components are multiplied by, so that :meth:`_products` has only to divide."""
        if onto is None or not apply_ln:
            return onto
        return readout.centred_directions(self, onto, layer, mlp_input)

    def _products(
        self, stack: Stack, apply_ln: bool, layer: int | None, mlp_input: bool = False, pos: Index = None
    ) -> Stack:
        if not apply_ln:
            return stack
        scale = readout.scale_of_reader(self, layer, mlp_input, pos).to(stack.values)
        several = stack.values.ndim > scale.ndim  # an axis of directions behind the positions
        return stack._replace(values=stack.values / (scale if several else scale[..., 0]))

    def compute_head_results(self) -> None:
        """Keep ``hook_result`` [batch, pos, head, d_model] of every layer in this cache."""
        for layer, block in enumerate(self.model.blocks):
            z = self.activations[f"blocks.{layer}.attn.hook_z"]
            self.activations[f"blocks.{layer}.attn.hook_result"] = torch.einsum("...hd,hdm->...hm", z, block.attn.W_O)

    def stack_head_results(
        self,
        layer: int | None = -1,
        return_labels: bool = False,
        incl_remainder: bool = False,
        pos_slice: SliceInput = None,
        apply_ln: bool = False,
    ) -> Labelled:
        """:func:`~lens.decompose.by_head`; ``incl_remainder`` adds the rest of the stream, "remainder"."""
        pos = _index(pos_slice)
        stack = decompose.by_head(self, layer, pos)
        stack = self._with_remainder(stack, layer, pos) if incl_remainder else stack
        return _classic(self._seen(stack, apply_ln, layer, pos=pos), return_labels)

    def _with_remainder(self, stack: Stack, layer: int | None, pos: Index, onto: Tensor | None = None) -> Stack:
        rest = decompose.projected(decompose.stream(self, layer, pos=pos), onto) - stack.values.sum(0)
        return Stack(torch.cat([stack.values, rest[None]]), [*stack.labels, "remainder"])

    def stack_neuron_results(
        self,
        layer: int | None,
        pos_slice: SliceInput = None,
        neuron_slice: SliceInput = None,
        return_labels: bool = False,
        incl_remainder: bool = False,
        apply_ln: bool = False,
        project_output_onto: Tensor | None = None,
    ) -> Labelled:
        """:func:`~lens.decompose.by_neuron`; ``incl_remainder`` adds the rest of the stream, "remainder"."""
        pos = _index(pos_slice)
        onto = self._reads(project_output_onto, apply_ln, layer)
        stack = decompose.by_neuron(self, layer, _index(neuron_slice), pos, onto)
        stack = self._with_remainder(stack, layer, pos, onto) if incl_remainder else stack
        seen = self._seen if onto is None else self._products
        return _classic(seen(stack, apply_ln, layer, pos=pos), return_labels)

    def get_neuron_results(
        self,
        layer: int,
        neuron_slice: SliceInput = None,
        pos_slice: SliceInput = None,
        project_output_onto: Tensor | None = None,
    ) -> Tensor:
        """:func:`~lens.decompose.neuron_writes`."""
        pos = _index(pos_slice)
        return decompose.neuron_writes(self, layer, _index(neuron_slice), pos, project_output_onto)

    def stack_activation(
        self, activation_name: str, layer: int | None = -1, sublayer_type: str | None = None
    ) -> Tensor:
        """One activation of every layer before ``layer``, [layer, ...]."""
        return torch.stack([self[activation_name, one, sublayer_type] for one in range(decompose.reader(self, layer))])

    def get_full_resid_decomposition(
        self,
        layer: int | None = None,
        mlp_input: bool = False,
        expand_neurons: bool = True,
        apply_ln: bool = False,
        pos_slice: SliceInput = None,
        return_labels: bool = False,
        project_output_onto: Tensor | None = None,
    ) -> Labelled:
        """:func:`~lens.decompose.whole`: heads, neurons or MLPs, embeddings and "bias"; they sum to the stream."""
        pos = _index(pos_slice)
        onto = self._reads(project_output_onto, apply_ln, layer, mlp_input)
        stack = decompose.whole(self, layer, mlp_input, expand_neurons, pos, onto)
        seen = self._seen if onto is None else self._products
        return _classic(seen(stack, apply_ln, layer, mlp_input, pos), return_labels)

    def apply_ln_to_stack(
        self,
        residual_stack: Tensor,
        layer: int | None = None,
        mlp_input: bool = False,
        pos_slice: SliceInput = None,
        batch_slice: SliceInput = None,
        has_batch_dim: bool = True,
        recompute_ln: bool = False,
    ) -> Tensor:
        """:func:`~lens.readout.scaled_components`, with the run's scale; the gain and bias of the norm are not applied.

        ``pos_slice`` says which positions the stack holds; ``batch_slice`` is also taken of the stack.
        ``recompute_ln``: the stack holds whole streams, each normalised by its own statistics.
        """
        pos = _index(pos_slice)
        if has_batch_dim:
            residual_stack = Slice(batch_slice).apply(residual_stack, 1)
        if recompute_ln:
            return readout.normalised_streams(self, residual_stack, layer, mlp_input)
        cache = self._of_batch(batch_slice)
        return readout.scaled_components(cache, residual_stack, layer, mlp_input, pos)

    def logit_attrs(
        self,
        residual_stack: Tensor,
        tokens: str | int | Tensor,
        incorrect_tokens: str | int | Tensor | None = None,
        pos_slice: SliceInput = None,
        batch_slice: SliceInput = None,
        has_batch_dim: bool = True,
    ) -> Tensor:
        """:func:`~lens.readout.logit_contributions` of each component to the logit of ``tokens``, or a difference.

        ``tokens``: one for all, one per sequence [batch], or one per position [batch, pos]. Give the stack as it is,
        without apply_ln.
        """
        pos = _index(pos_slice)
        direction = self._direction(tokens)
        if incorrect_tokens is not None:
            wrong = self._direction(incorrect_tokens)
            if wrong.shape != direction.shape:
                raise ValueError(
                    f"logit_attrs: tokens of shape {list(direction.shape[:-1])}, incorrect_tokens of shape "
                    f"{list(wrong.shape[:-1])}; wanted the same."
                )
            direction = direction - wrong
        if has_batch_dim:
            residual_stack = Slice(batch_slice).apply(residual_stack, 1)
        cache = self._of_batch(batch_slice)
        if direction.ndim == 2 and residual_stack.ndim == 4:
            direction = direction[:, None]  # one token per sequence, the same at every position
        return readout.logit_contributions(cache, residual_stack, direction, pos)

    def _direction(self, tokens: str | int | Tensor) -> Tensor:
        one = isinstance(tokens, Tensor) and tokens.numel() == 1
        return self.model.tokens_to_residual_directions(tokens.reshape(()) if one else tokens)
