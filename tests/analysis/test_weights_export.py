"""The Python of numbers made from weights prints those numbers, and their tables have them."""

import numpy as np
import pytest

from lens.analysis.composition import composition, pair_columns, strongest_pairs
from lens.analysis.head_scores import head_scores
from lens.analysis.head_vocabulary import copying_accuracy, own_ranks_of, top_shares
from lens.analysis.ov_copying import null_band, null_scores_of, ov_copying, ov_cores
from lens.analysis.prefix_matching import prefix_matching
from lens.analysis.random_tokens import repeated_tokens
from lens.analysis.weights_export import composition_to_python, copying_to_python, prefix_to_python, top_to_python


def lines(code: str, model, capsys) -> list[str]:
    exec(code, {"model": model})
    return capsys.readouterr().out.replace("tensor(", "").replace(")", "").splitlines()


@pytest.mark.parametrize("mode", ["Q", "K", "V"])
def test_a_pair_of_heads(grouped, mode, capsys):
    found = composition(grouped, mode, 3, "raw")
    best = found.strongest
    printed = lines(composition_to_python(found, best.sender, best.receiver), grouped, capsys)[0].split()
    want = [best.value, found.null, float(found.z[best.place])]
    assert [float(word) for word in printed] == pytest.approx(want, abs=1e-3)


def test_prefix_matching(grouped, capsys):
    repeated = repeated_tokens(grouped, n=8, n_seqs=3, seed=2, prepend_bos=False)
    found = prefix_matching(grouped, head_scores(grouped, repeated)["previous"].score.mean, 5)
    printed = lines(prefix_to_python(found, 8, 3, 2, False), grouped, capsys)[-1].split()
    want = [float(found.score[found.strongest]), float(found.z[found.strongest]), found.reach]
    assert [float(word) for word in printed] == pytest.approx(want, abs=1e-4)


@pytest.mark.parametrize("circuit", ["full", "residual"])
def test_copying_with_its_null_and_top_k(grouped, circuit, capsys):
    cores = getattr(ov_cores(grouped, folded=False), circuit)
    band = null_band(null_scores_of((0, 30), cores, 4))
    code = copying_to_python((1, 2), circuit, "tokens", False, 4, band) + top_to_python("tokens", 20, 4, 3)
    score, ends, share = lines(code, grouped, capsys)
    assert float(score) == pytest.approx(
        float(getattr(ov_copying(grouped, folded=False), circuit).score[1, 2]), abs=1e-5
    )
    want = [float(band.low[1, 2]), float(band.high[1, 2])]
    assert [float(end) for end in ends.split()] == pytest.approx(want, abs=1e-5)
    ranks = own_ranks_of(1, grouped, n_tokens=20, seed=4)
    assert float(share) == pytest.approx(float(copying_accuracy(ranks, 3).share[2]))
    assert len(lines(copying_to_python((1, 2), circuit), grouped, capsys)) == 1


def test_the_table_of_pairs_has_their_numbers(grouped):
    found = composition(grouped, "K", 3)
    every = pair_columns(found)
    assert len(every["score"]) == found.n_pairs
    assert every["score"] == sorted(every["score"], reverse=True)
    assert (every["sender"][0], every["receiver"][0]) == (str(found.strongest.sender), str(found.strongest.receiver))
    some = strongest_pairs(found.z, 5)
    columns = pair_columns(found, some)
    assert columns["z"] == pytest.approx([pair.value for pair in some], nan_ok=True)
    assert np.subtract(columns["score"], columns["− null"]) == pytest.approx(found.null)


def test_shares_of_some_layers_leave_the_others_unknown(grouped):
    ranks = {layer: own_ranks_of(layer, grouped, n_tokens=20, seed=1) for layer in (0, 2)}
    layers = {layer: copying_accuracy(one, 2) for layer, one in ranks.items()}
    found = top_shares(layers, ranks[0], grouped.cfg)
    assert np.isnan(found.share[1]).all()
    assert not found.beyond[1].any()
    assert found.share[2] == pytest.approx(layers[2].share.numpy())
    assert (found.k, found.n, found.seed, found.few) == (2, 20, 1, "")
