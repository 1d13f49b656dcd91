"""The planted models by name: every quantity that was planted, measured the plain way and compared with its formula."""

import subprocess
import sys
from math import exp, log

import pytest
import torch

from lens import HookedTransformer
from lens.analysis.ov_copying import DRAWS, copying_of, null_band, null_scores_of, ov_cores
from lens.analysis.random_tokens import repeated_tokens, sampling_set
from lens.load import read
from lens.load.catalogue import available_offline, entries, is_local, resolve
from lens.load.checkpoints import checkpoints
from lens.planted import closed_form as exact
from lens.planted import layout as at
from lens.planted.plants import NAMES, PLANTS, plant
from lens.planted.weights import build

CIRCUITS = [name for name in NAMES if name not in ("planted-offset", "planted-random")]


@pytest.fixture(scope="module")
def repeated(planted):
    return repeated_tokens(planted["planted-induction"], n=at.N, n_seqs=4)


@pytest.fixture
def copying(planted):
    """``copying(name)``: the copying score of the planted head, and the central 95% of its own random rotations."""

    def score(name):
        cores = ov_cores(planted[name])
        band = null_band(null_scores_of((0, DRAWS), cores.full[1:, at.INDUCTION[1] : at.INDUCTION[1] + 1]))
        return float(copying_of(cores).full.score[at.INDUCTION]), (float(band.low), float(band.high))

    return score


def stripe(pattern, back, queries):
    return torch.stack([pattern[:, q, q - back] for q in queries])


def logit_difference(model, repeated, tokens=None, hooks=()):
    """Right next token minus the one after it (of the first copy), at every query of the second copy but the last."""
    logits = model.run_with_hooks(repeated.tokens if tokens is None else tokens, fwd_hooks=hooks)
    queries = torch.tensor(repeated.queries[:-1])
    block = repeated.tokens[:, repeated.bos : repeated.bos + repeated.n]
    place = queries - repeated.bos - repeated.n + 1
    right, wrong = block[:, place], block[:, (place + 1) % repeated.n]
    chosen = logits[:, queries]
    return chosen.gather(-1, right[..., None]) - chosen.gather(-1, wrong[..., None])


def without(*heads):
    def zero(head):
        def hook(z, hook):
            z[:, :, head] = 0

        return hook

    return [(f"blocks.{layer}.attn.hook_z", zero(head)) for layer, head in heads]


class TestLoading:
    def test_they_open_by_name_offline(self, planted):
        for name, model in planted.items():
            assert (model.name, model.cfg.n_layers, model.cfg.n_heads, model.cfg.d_head) == (name, 2, 4, 64)
            assert is_local(name)
            assert model.note
            assert (model.bos.token, model.bos.prepend) == ("<bos>", True)
        assert set(NAMES) <= set(available_offline())
        assert set(NAMES) <= {entry.alias for entry in entries()}

    def test_their_table_says_what_they_are(self, planted):
        for name, model in planted.items():
            entry = resolve(name.upper())
            assert entry.n_params == sum(weight.numel() for weight in model.parameters())
            sizes, cfg = entry.sizes, model.cfg
            assert (sizes.d_model, sizes.d_head, sizes.d_vocab, sizes.d_mlp) == (
                cfg.d_model,
                cfg.d_head,
                cfg.d_vocab,
                0,
            )

    def test_the_same_weights_at_every_call(self):
        for name in NAMES:
            first, second = build(name)[1], build(name)[1]
            assert all(torch.equal(first[key], second[key]) for key in first)

    def test_dtype_is_what_was_asked_for(self):
        assert HookedTransformer.from_pretrained("planted-induction", dtype=torch.float64).dtype == torch.float64

    def test_no_revisions_and_no_checkpoints(self):
        with pytest.raises(ValueError, match="has no revisions"):
            read("planted-induction", revision="main")
        with pytest.raises(ValueError, match="knows no training checkpoints"):
            checkpoints("planted-induction")

    def test_the_table_imports_no_torch(self):
        code = "import sys; import lens.planted.plants; sys.exit('torch' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

    def test_an_unknown_name(self):
        with pytest.raises(KeyError, match="planted-decoy"):
            plant("planted-nothing")
        with pytest.raises(KeyError, match="planted-decoy"):
            build("planted-nothing")


class TestTokens:
    def test_every_character_is_a_token_of_its_own(self, planted):
        model = planted["planted-induction"]
        assert len(model.tokenizer) == model.cfg.d_vocab == 64
        assert model.to_str_tokens("A b;") == ["<bos>", "a", " ", "b", ";"]
        assert model.to_string(model.to_tokens("“Zoë’s\n2 cats”", prepend_bos=False)[0]) == '"zoe\'s\n2 cats"'
        assert model.to_str_tokens("~", prepend_bos=False) == ["<unk>"]

    def test_random_tokens_are_all_the_characters(self, planted):
        found = sampling_set(planted["planted-induction"])
        assert len(found.ids) == 62
        assert set(found.ids.tolist()).isdisjoint({0, 1})


@pytest.mark.parametrize("name", CIRCUITS)
class TestCircuits:
    def test_attention_is_one_where_it_should_be(self, planted, repeated, name):
        model = planted[name]
        for layer_head, back, queries, repeat, control in (
            (at.PREVIOUS, 1, range(2, 51), 1, 1),
            (at.DUPLICATE, at.N, repeated.queries, 0.5, 0),
            (at.INDUCTION, at.DISTANCE, repeated.queries, 1, 0),
        ):
            for tokens, wanted in ((repeated.tokens, repeat), (repeated.control, control)):
                _, cache = model.run_with_cache(tokens)
                pattern = cache["pattern", layer_head[0]][:, layer_head[1]]
                values = stripe(pattern, back, queries)
                assert (values - wanted).abs().max() < 1e-6

    def test_what_finds_nothing_rests_on_the_first_position(self, planted, repeated, name):
        _, cache = planted[name].run_with_cache(repeated.control)
        layer, head = at.INDUCTION
        assert cache["pattern", layer][:, head, :, 0].min() > 1 - 1e-6

    def test_composition(self, planted, repeated, name):
        scores = planted[name].all_composition_scores("K")
        layer, head = at.INDUCTION
        assert scores[*at.PREVIOUS, layer, head].item() == pytest.approx(exact.composition(), abs=1e-5)
        assert scores[*at.DUPLICATE, layer, head].item() < exact.composition() * 0.6


class TestNumbers:
    @pytest.mark.parametrize(
        ("name", "wanted"),
        [
            ("planted-induction", 10),
            ("planted-decoy", 0),
            ("planted-offset", 10),
            ("planted-anticopy", -10),
            ("planted-redundant", exact.saturated(2)),
        ],
    )
    def test_logit_difference(self, planted, repeated, name, wanted):
        assert (logit_difference(planted[name], repeated) - wanted).abs().max() < 1e-3

    @pytest.mark.parametrize("heads", [[at.INDUCTION], [at.PREVIOUS]])
    def test_without_either_head_the_induction_is_gone(self, planted, repeated, heads):
        assert logit_difference(planted["planted-induction"], repeated, hooks=without(*heads)).abs().max() < 1e-3

    def test_without_the_decoy_nothing_changes(self, planted, repeated):
        model = planted["planted-decoy"]
        ablated = model.run_with_hooks(repeated.tokens, fwd_hooks=without(at.INDUCTION))
        assert (ablated - model(repeated.tokens)).abs().max() < 1e-3

    def test_twins_one_alone_hardly_matters_both_are_everything(self, planted, repeated):
        model = planted["planted-redundant"]
        for heads, left in (([at.INDUCTION], 1), ([at.SECOND], 1), ([at.INDUCTION, at.SECOND], 0)):
            found = logit_difference(model, repeated, hooks=without(*heads))
            assert (found - exact.saturated(left)).abs().max() < 1e-3
        assert exact.saturated(2) - exact.saturated(1) < 0.01 * exact.saturated(2)

    def test_losses(self, planted, repeated):
        for name, logit in (("planted-induction", 10), ("planted-anticopy", -10), ("planted-decoy", 0)):
            loss = planted[name](repeated.tokens, return_type="loss", loss_per_token=True)
            first, second = loss[:, 1 : at.N], loss[:, at.N + 1 :]
            assert (first - log(64)).abs().max() < 1e-3
            assert (second - log(1 + 63 * exp(-logit))).abs().max() < 1e-3

    @pytest.mark.parametrize(("name", "sign"), [("planted-induction", 1), ("planted-anticopy", -1)])
    def test_full_OV_is_a_multiple_of_the_identity(self, planted, name, sign):
        model = planted[name]
        layer, head = at.INDUCTION
        full = model.W_E @ model.OV[layer, head].AB @ model.W_U
        wanted = sign * at.COPY * torch.eye(64)
        wanted[0, 0] = 0  # BOS is not copied
        assert (full - wanted).abs().max() < 1e-3

    @pytest.mark.parametrize(("name", "wanted"), [("planted-induction", 1), ("planted-anticopy", -1)])
    def test_the_copying_score_is_that_of_the_plant(self, copying, name, wanted):
        score, band = copying(name)
        assert score == pytest.approx(wanted, abs=1e-3)
        assert not band[0] < score < band[1]

    def test_the_decoy_is_told_apart_from_induction_by_its_copying_score(self, copying):
        score, (low, high) = copying("planted-decoy")
        assert low < score < high
        assert abs(score) < 0.2

    def test_the_offset_looks_back_whatever_stands_there(self, planted):
        model = planted["planted-offset"]
        tokens = torch.randint(64, (2, at.N_CTX), generator=torch.Generator().manual_seed(0))
        _, cache = model.run_with_cache(tokens)
        layer, head = at.INDUCTION
        pattern = cache["pattern", layer][:, head]
        assert stripe(pattern, at.DISTANCE, range(at.DISTANCE, at.N_CTX)).min() > 1 - 1e-6
        assert pattern[:, : at.DISTANCE, 0].min() > 1 - 1e-6

    def test_the_offset_is_right_at_its_own_length_only(self, planted):
        model = planted["planted-offset"]
        for n, wanted in ((at.N, exact.saving(10)), (20, exact.offset_saving(20, at.DISTANCE))):
            tokens = repeated_tokens(model, n=n, n_seqs=4).tokens
            loss = model(tokens, return_type="loss", loss_per_token=True)
            saving = loss[:, 1:n].mean() - loss[:, n + 1 :].mean()
            assert saving.item() == pytest.approx(wanted, abs=1e-3)

    def test_the_random_control_has_the_norms_of_the_planted_model(self, planted):
        ours, theirs = (dict(planted[f"planted-{name}"].named_parameters()) for name in ("random", "induction"))
        for name, weight in ours.items():
            assert weight.norm().item() == pytest.approx(theirs[name].norm().item(), rel=1e-4), name


def test_every_plant_has_words(planted):
    for one in PLANTS:
        assert one.what.endswith(".")
        assert one.facts
        assert all(0 <= layer < 2 and 0 <= head < 4 for layer, head in one.heads)
        assert one.name in planted
