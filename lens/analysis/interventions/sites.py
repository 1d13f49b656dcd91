"""The places in a forward pass whose value an intervention can replace."""

from typing import NamedTuple

from lens.config import Config

AXES = ("layer", "pos", "head", "key", "neuron")


class Site(NamedTuple):
    """One kind of activation.

    ``axes``: what a cell of it can be chosen by, after the layer; pos is the query of a pattern. ``local``: later
    positions do not read it in its own layer, so in the last layer it matters only where the metric reads.
    """

    name: str
    point: str  # of hook_dict
    axes: tuple[str, ...]
    local: bool
    label: str

    def hook_name(self, layer: int) -> str:
        """The hook point of one layer."""
        return self.point.format(layer)


def _sites(*rows: tuple[str, str, str, bool, str]) -> dict[str, Site]:
    return {name: Site(name, point, tuple(axes.split()), local, label) for name, point, axes, local, label in rows}


SITES = _sites(
    ("resid_pre", "blocks.{}.hook_resid_pre", "pos", False, "residual stream before the layer"),
    ("resid_mid", "blocks.{}.hook_resid_mid", "pos", True, "residual stream between attention and MLP"),
    ("resid_post", "blocks.{}.hook_resid_post", "pos", True, "residual stream after the layer"),
    ("attn_out", "blocks.{}.hook_attn_out", "pos", True, "what attention adds to the stream"),
    ("mlp_out", "blocks.{}.hook_mlp_out", "pos", True, "what the MLP adds to the stream"),
    ("z", "blocks.{}.attn.hook_z", "pos head", True, "output of heads"),
    ("q", "blocks.{}.attn.hook_q", "pos head", True, "queries"),
    ("k", "blocks.{}.attn.hook_k", "pos head", False, "keys"),
    ("v", "blocks.{}.attn.hook_v", "pos head", False, "values"),
    ("pattern", "blocks.{}.attn.hook_pattern", "pos head key", True, "attention patterns"),
    ("neurons", "blocks.{}.mlp.hook_post", "pos neuron", True, "neurons, after the activation function"),
    ("ln1_scale", "blocks.{}.ln1.hook_scale", "pos", False, "scale of the norm before attention"),
    ("ln2_scale", "blocks.{}.ln2.hook_scale", "pos", True, "scale of the norm before the MLP"),
    ("final_scale", "ln_final.hook_scale", "pos", True, "scale of the final norm"),
)


def find_site(name: str, cfg: Config) -> Site:
    """The site called ``name``; ValueError if it does not exist or this model does not have it, with the way out."""
    if name not in SITES:
        raise ValueError(f"site={name!r}; it must be one of {', '.join(SITES)}.")
    why = _lacks(name, cfg)
    if why:
        raise ValueError(f"site={name!r}: {why}")
    return SITES[name]


def available_sites(cfg: Config) -> tuple[str, ...]:
    """Names of the sites that a model of this structure has."""
    return tuple(name for name in SITES if not _lacks(name, cfg))


def _lacks(name: str, cfg: Config) -> str:
    if cfg.attn_only and name in ("resid_mid", "mlp_out", "neurons", "ln2_scale"):
        return "this model has no MLP; use resid_post or z."
    if cfg.parallel and name == "resid_mid":
        return "in a parallel block nothing reads the stream between attention and MLP; use resid_pre or attn_out."
    if name in ("ln1_scale", "ln2_scale") and (cfg.norm is None or not cfg.pre_norm):
        return "this model has no norm before attention and MLP."
    if name == "final_scale" and cfg.final_norm is None:
        return "this model has no final norm."
    return ""


def n_layers_of(site: Site, cfg: Config) -> range:
    """The layers at which a site exists; the final norm counts as layer n_layers."""
    return range(cfg.n_layers, cfg.n_layers + 1) if site.name == "final_scale" else range(cfg.n_layers)


def axis_size(site: Site, axis: str, cfg: Config, n_pos: int) -> int:
    """How many entries ``axis`` of ``site`` has; keys and values have kv heads. ValueError for an axis it lacks."""
    if axis != "layer" and axis not in site.axes:
        raise ValueError(f"{site.name} has no axis {axis!r}; it has layer, {', '.join(site.axes)}.")
    heads = cfg.n_kv_heads if site.name in ("k", "v") else cfg.n_heads
    sizes = {"layer": cfg.n_layers, "pos": n_pos, "key": n_pos, "head": heads, "neuron": cfg.d_mlp}
    return sizes[axis]


def activation_shape(site: Site, cfg: Config, n_batch: int, n_pos: int) -> tuple[int, ...]:
    """Shape of the site's activation for ``n_batch`` prompts of ``n_pos`` tokens."""
    if site.name == "pattern":
        return n_batch, cfg.n_heads, n_pos, n_pos
    sizes = [axis_size(site, axis, cfg, n_pos) for axis in site.axes]
    if "head" in site.axes:
        sizes.append(cfg.d_head)
    elif "neuron" not in site.axes:
        sizes.append(1 if site.name.endswith("_scale") else cfg.d_model)
    return n_batch, *sizes
