"""Numbers made from weights as Python: lines that compute them again where a ``model`` is open."""

from lens.analysis.circuit_weights import Embedding
from lens.analysis.composition import Composition
from lens.analysis.names import Head
from lens.analysis.ov_copying import NullBand
from lens.analysis.prefix_matching import PrefixMatching


def composition_to_python(result: Composition, sender: Head, receiver: Head) -> str:
    """The score of one pair of heads with its null and z, and their virtual weights."""
    index = ", ".join(map(str, (*sender, *receiver)))
    args = f'"{result.mode}", offset={result.offset or 0}, weights="{result.weights}"'
    return (
        "from lens.analysis.composition import composition, virtual_weights\n\n"
        f"found = composition(model, {args})\n"
        f"print(found.scores[{index}], found.null, found.z[{index}])\n"
        f"virtual = virtual_weights(model, {tuple(sender)}, {tuple(receiver)}, {args})"
    )


def prefix_to_python(result: PrefixMatching, n: int, seqs: int, seed: int, prepend_bos: bool) -> str:
    """Prefix matching of the strongest head; ``n`` to ``prepend_bos`` say where previous-token scores come from."""
    layer, head = result.strongest or (0, 0)
    return (
        "from lens.analysis.head_scores import head_scores\n"
        "from lens.analysis.prefix_matching import prefix_matching\n"
        "from lens.analysis.random_tokens import repeated_tokens\n\n"
        f"repeated = repeated_tokens(model, n={n}, n_seqs={seqs}, seed={seed}, prepend_bos={prepend_bos})\n"
        'previous = head_scores(model, repeated)["previous"].score.mean\n'
        f'prefix = prefix_matching(model, previous, offset={result.offset or 0}, weights="{result.weights}")\n'
        f"print(float(prefix.score[{layer}, {head}]), float(prefix.z[{layer}, {head}]), prefix.reach)"
    )


def copying_to_python(
    head: Head,
    circuit: str,
    embedding: Embedding = "tokens",
    folded: bool = True,
    seed: int = 0,
    band: NullBand | None = None,
) -> str:
    """The OV copying score of one head, and the ends of its own null in ``band``; None: without a null."""
    text = (
        "from lens.analysis.ov_copying import copying_of, null_band, null_scores_of, ov_cores\n\n"
        f"layer, head = {head[0]}, {head[1]}\n"
        f"cores = ov_cores(model, {embedding!r}, folded={folded})\n"
        f"print(float(copying_of(cores).{circuit}.score[layer, head]))\n"
    )
    if band is not None:
        text += (
            f"own = null_scores_of((0, {band.n_of(head)}), cores.{circuit}, {seed}, [(layer, head)])\n"
            "band = null_band(own)\n"
            "print(float(band.low[layer, head]), float(band.high[layer, head]))\n"
        )
        if band.n < band.most:  # of all heads, fewer rotations
            text += (
                "\nfrom lens.analysis.sequential_null import sequential_null\n\n"
                f"reach = null_band(sequential_null(cores.{circuit}, copying_of(cores).{circuit}, {seed})).reach\n"
                "print(reach)\n"
            )
    return text


def top_to_python(embedding: Embedding, n: int, seed: int, k: int) -> str:
    """After ``copying_to_python``: the share of ``n`` tokens drawn with ``seed`` in the top ``k`` of their own row."""
    return (
        "\nfrom lens.analysis.head_vocabulary import copying_accuracy, own_ranks_of\n\n"
        f"ranks = own_ranks_of(layer, model, {embedding!r}, {n}, {seed})\n"
        f"print(float(copying_accuracy(ranks, {k}).share[head]))\n"
    )


def copying_on_text_to_python(n: int, prepend_bos: bool, length: int) -> str:
    """After ``copying_to_python``: what the head does on the first ``length`` tokens of ``n`` held-out chapters."""
    return (
        "\nfrom lens.analysis.copying_on_text import copying_on_text\n"
        "from lens.analysis.held_out import beginnings\n\n"
        f"batch = beginnings(model, {n}, {prepend_bos}, {length})\n"
        "on_text = copying_on_text(model, batch.tokens, batch.mask)\n"
        'print(float(on_text["text_share"].effect.mean[layer, head]))\n'
    )
