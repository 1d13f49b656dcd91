"""NaN and infinity are never ranked, averaged away or decoded: the model, the layer and the position are said."""

import copy

import pytest
import torch

from lens.analysis.answer.logit_lens import logit_lens
from lens.analysis.composition import composition
from lens.analysis.head_scores import head_scores
from lens.analysis.head_vocabulary import copied_tokens
from lens.analysis.interventions import Experiment, Grid, Intervention, Metric, run_sweep
from lens.analysis.loss import next_token_stats, text_stats
from lens.analysis.ov_copying import ov_copying
from lens.analysis.qk_circuit import qk_circuits, top_pairs
from lens.analysis.random_tokens import repeated_tokens
from lens.compat import utils
from lens.compat.transformer import HookedTransformer as Classic
from lens.finite import NotFinite, first_fault
from lens.hooked import next_token_loss
from tests.analysis.interventions.test_exact import PAIRS
from tests.helpers import byte_tokenizer, hf_gpt2, hf_llama, in_lens

TOKENS = torch.randint(5, 110, (3, 12), generator=torch.Generator().manual_seed(0))
NAN, INF = torch.nan, torch.inf


@pytest.fixture(params=[hf_gpt2, hf_llama])
def sound(request):
    return in_lens(request.param())


@torch.no_grad()
def broken(model, name, value, row=0):
    """A copy of ``model``, one of whose weights is not a number."""
    model = copy.deepcopy(model)
    weight = model.get_parameter(name)
    weight[(row, *[0] * (weight.ndim - 1))] = value
    return model


FAULTS = {
    "blocks.1.mlp.W_in": "in layer 1 (blocks.1.mlp.hook_pre",  # a gated MLP has two such points
    "blocks.2.attn.b_V": "in layer 2 (blocks.2.attn.hook_v)",
    "blocks.0.attn.W_Q": "in layer 0 (blocks.0.attn.hook_q)",
    "unembed.b_U": "outside its layers (logits)",
}


def analyses(model, tokens):
    """Everything that ranks, averages or picks, by name."""
    repeated = repeated_tokens(model, 5, 2, 0, prepend_bos=False)
    sweep = Experiment(PAIRS, Intervention("z"), Grid(("layer",)), Metric("logit_diff"))
    ranks = Experiment(PAIRS, Intervention("z"), Grid(("layer",)), Metric("rank"))
    classic = Classic.of(model)
    return {
        "loss": lambda: model(tokens, return_type="loss"),
        "both": lambda: model(tokens, return_type="both"),
        "loss per token": lambda: model(tokens, return_type="loss", loss_per_token=True),
        "loss with padding": lambda: model(
            tokens, return_type="loss", attention_mask=torch.ones_like(tokens, dtype=torch.bool)
        ),
        "classic loss": lambda: classic(tokens, return_type="loss"),
        "classic loss_fn": lambda: classic.loss_fn(classic(tokens), tokens),
        "predictions": lambda: next_token_stats(model, tokens),
        "one text": lambda: text_stats(model, tokens[:1]),
        "greedy": lambda: model.generate(tokens[:1], 3, temperature=0),
        "sampled": lambda: model.generate(tokens[:1], 3, seed=0),
        "logit lens": lambda: logit_lens(model, tokens, tokens.roll(-1, 1)),
        "head scores": lambda: head_scores(model, repeated),
        "sweep": lambda: run_sweep(model, sweep),
        "sweep of ranks": lambda: run_sweep(model, ranks),
        "utils loss": lambda: utils.lm_cross_entropy_loss(model(tokens), tokens),
        "utils accuracy": lambda: utils.lm_accuracy(model(tokens), tokens),
        "utils sample": lambda: utils.sample_logits(model(tokens)[:, -1]),
    }


WITHOUT_MODEL = {"utils loss", "utils accuracy", "utils sample"}  # they see logits only, and cannot say which layer
NO_LOGITS = {"head scores"}  # read patterns: what breaks later does not reach them


@pytest.mark.parametrize("value", [NAN, INF])
@pytest.mark.parametrize("name", FAULTS)
def test_whatever_reads_it_stops_and_says_where(sound, name, value):
    model = broken(sound, name, value)
    for what, run in analyses(model, TOKENS).items():
        if what in NO_LOGITS and name in ("unembed.b_U", "blocks.2.attn.b_V"):
            run()
            continue
        with pytest.raises(NotFinite) as caught:
            run()
        said = str(caught.value)
        if what not in WITHOUT_MODEL:
            assert said.startswith(f"{model.name} computes "), (what, said)
            assert FAULTS[name] in said, (what, said)
            assert "position 0" in said, (what, said)


def test_a_sound_model_is_not_stopped(sound):
    for run in analyses(sound, TOKENS).values():
        run()


def test_the_position_and_the_text_are_the_first(sound):
    model = broken(sound, "embed.W_E", NAN, row=int(TOKENS[1, 4]))
    expected = min((int(pos), int(row)) for row, pos in (TOKENS[1, 4] == TOKENS).nonzero())
    fault = first_fault(model, TOKENS)
    assert (fault.pos, fault.text, fault.layer, fault.value) == (*expected, None, "NaN")
    with pytest.raises(NotFinite, match=f"first at position {expected[0]} of text {expected[1] + 1}"):
        model(TOKENS, return_type="loss")


def test_a_fault_in_padding_stops_nothing():
    """What stands behind a text is not read, so the mean is that of the text; a NaN in the text is not padding."""
    sound = in_lens(hf_llama())
    tokens, mask = TOKENS.clone(), torch.ones_like(TOKENS, dtype=torch.bool)
    tokens[0, 9:], mask[0, 9:] = 0, False
    logits = sound(tokens, attention_mask=mask)
    want = sound(tokens, return_type="loss", attention_mask=mask)
    logits[0, 9:] = NAN
    assert next_token_loss(logits, tokens, mask) == want
    torch.testing.assert_close(utils.lm_cross_entropy_loss(logits, tokens, mask), want)
    logits[1, 3] = NAN
    assert next_token_loss(logits, tokens, mask).isnan()
    with pytest.raises(NotFinite, match="position 3"):
        utils.lm_cross_entropy_loss(logits, tokens, mask)


def test_a_change_that_makes_nan_is_told_from_the_model(sound):
    spoil = ("blocks.1.hook_resid_post", lambda x, hook: x * NAN)
    with pytest.raises(NotFinite, match=r"in layer 1 \(blocks.1.hook_resid_post\)"), sound.hooks(fwd_hooks=[spoil]):
        sound(TOKENS, return_type="loss")
    with pytest.raises(NotFinite, match="own run of this text is finite"):
        sound.loss_fn(sound(TOKENS) * NAN, TOKENS)


def test_float16_says_what_would_help():
    model = broken(in_lens(hf_gpt2()), "blocks.1.mlp.b_in", 60000.0).half()
    with torch.no_grad():
        model.blocks[1].mlp.W_out.mul_(50)
    with pytest.raises(NotFinite, match="dtype float32 or bfloat16"):
        model(TOKENS, return_type="loss")


def test_an_answer_is_not_rated_by_nan():
    tokenizer = byte_tokenizer()
    model = broken(in_lens(hf_gpt2(vocab_size=len(tokenizer)), tokenizer), "blocks.1.mlp.W_in", NAN)
    with pytest.raises(NotFinite, match="in layer 1"):
        utils.test_prompt("The cat sat on", "the", model, print_details=False)


READS_WEIGHTS = {
    "composition": lambda model: composition(model, "V"),
    "copying": ov_copying,
    "copied tokens": lambda model: copied_tokens(model, (1, 0)),
    "matching": qk_circuits,
    "pairs": lambda model: top_pairs(model, (1, 0), 3),
}


@pytest.mark.parametrize("what", READS_WEIGHTS)
def test_scores_of_weights_name_the_weight(what):
    model = in_lens(hf_gpt2())
    READS_WEIGHTS[what](model)
    name = "blocks.1.attn.W_Q" if what in ("matching", "pairs") else "blocks.1.attn.W_V"
    with pytest.raises(NotFinite, match=f"{name} is the first of 1 weights"):
        READS_WEIGHTS[what](broken(model, name, NAN))
