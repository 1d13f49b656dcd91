"""One model, the weights of another checkpoint: in place, exactly those of a fresh load, or not at all."""

import pytest
import torch

from lens import HookedTransformer
from lens.load.checkpoints import checkpoints
from lens.swap import swap_weights
from tests.helpers import hf_gpt2, hf_llama, in_lens
from tests.load.models import save
from tests.load.toys import new_repository

STEPS = (0, 10, 200)
MODELS = {
    "gpt2-tied": lambda seed: hf_gpt2(),
    "llama-grouped": lambda seed: hf_llama(num_key_value_heads=2),
}


def moved(hf, by):
    with torch.no_grad():
        for i, parameter in enumerate(hf.parameters()):
            parameter.add_(0.05 * by * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(i)))
    return hf


@pytest.fixture(params=MODELS)
def run(request, tmp_path):
    for i, step in enumerate(STEPS):
        save(moved(MODELS[request.param](i), i), tmp_path / "run" / f"checkpoint-{step}")
    return tmp_path / "run"


@pytest.fixture
def tokens():
    return torch.randint(0, 113, (2, 9), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_swapped_model_is_the_fresh_one(run, tokens, dtype):
    model = HookedTransformer.from_pretrained(str(run), checkpoint_index=0, dtype=dtype)
    parameters = dict(model.named_parameters(remove_duplicate=False))
    seen = []
    for index in (1, 2, 0, -1):
        one = model.load_checkpoint(index)
        fresh = HookedTransformer.from_pretrained(str(run), checkpoint_index=index, dtype=dtype)
        assert torch.equal(model(tokens), fresh(tokens))
        assert (model.revision, model.checkpoint) == (fresh.revision, fresh.checkpoint) == (one.place, one)
        assert model.dtype == dtype
        for name, parameter in model.named_parameters(remove_duplicate=False):
            assert parameter is parameters[name]
            assert parameter.stride() == dict(fresh.named_parameters(remove_duplicate=False))[name].stride()
        tied = model.W_U.data_ptr() == model.W_E.data_ptr()
        assert tied == model.cfg.tied
        seen.append(model(tokens))
    assert (seen[0] - seen[1]).abs().max() > 0.01


@torch.no_grad()
def test_a_read_that_fails_leaves_the_model_as_it_was(run, tokens):
    model = HookedTransformer.from_pretrained(str(run), checkpoint_index=0)
    found, before = checkpoints(str(run)), model(tokens)
    file = run / "checkpoint-200" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-50])
    with pytest.raises(ValueError, match="truncated"):
        model.load_checkpoint(-1)
    with pytest.raises(ValueError, match="no checkpoint at 7"):
        model.load_checkpoint(value=7)
    file.unlink()
    with pytest.raises(FileNotFoundError, match="no weights"):
        model.load_checkpoint(-1, of=found)

    class Cancelled(BaseException):
        pass

    def cancel(fraction, text):
        if fraction > 0.9:
            raise Cancelled

    with pytest.raises(Cancelled):
        model.load_checkpoint(1, progress=cancel)
    assert torch.equal(model(tokens), before)
    assert model.checkpoint.label == 0
    assert model.revision == "checkpoint-0"


def test_weights_of_another_structure_are_refused(run, tmp_path, tokens):
    model = HookedTransformer.from_pretrained(str(run), checkpoint_index=0)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    other = in_lens(hf_gpt2(n_layer=2, n_head=2))
    with pytest.raises(ValueError, match="do not fit this model"):
        swap_weights(model, other.state_dict())
    save(hf_gpt2(n_layer=2), tmp_path / "other" / "checkpoint-1")
    with pytest.raises(ValueError, match=r"differs from this model in .*n_layers"):
        model.load_checkpoint(0, of=checkpoints(str(tmp_path / "other")))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


@torch.no_grad()
def test_a_model_opened_at_its_end_finds_its_own_checkpoints(tmp_path, fake_hub):
    """No tokenizer is read again and nothing but the file of the checkpoint is fetched."""
    models = new_repository(tmp_path / "m", 50, (262_144, 524_288))
    (tmp_path / "t").mkdir()
    fake_hub.add("NeelNanda/Attn_Only_2L512W_C4_Code", tmp_path / "m")
    fake_hub.add("NeelNanda/gpt-neox-tokenizer-digits", tmp_path / "t")
    with pytest.raises(ValueError, match="holds no tokenizer"):
        HookedTransformer.from_pretrained("attn-only-2l")
    model = HookedTransformer.from_pretrained(str(tmp_path / "m"))
    model.name = "attn-only-2l"
    served = len(fake_hub.served)
    tokens = torch.arange(20)[None]
    assert model.load_checkpoint(value=524_288).tokens == 524_288
    torch.testing.assert_close(model(tokens), models[524_288](tokens), atol=2e-5, rtol=0)
    assert fake_hub.served[served:] == ["checkpoints/tokens_000000524288.pth"]


@torch.no_grad()
def test_tied_weights_stay_tied_in_another_format(tokens):
    """Converted one by one, the two would become two tensors."""
    model, other = in_lens(hf_gpt2()).to(torch.bfloat16), in_lens(moved(hf_gpt2(), 1))
    swap_weights(model, other.state_dict())
    assert model.W_U.data_ptr() == model.W_E.data_ptr()
    assert torch.equal(model(tokens), other.to(torch.bfloat16)(tokens))


def test_gradients_of_the_old_weights_do_not_stay(run, tokens):
    model = HookedTransformer.from_pretrained(str(run), checkpoint_index=0)
    model(tokens, return_type="loss").backward()
    model.load_checkpoint(1)
    assert all(parameter.grad is None for parameter in model.parameters())
    model(tokens, return_type="loss").backward()
