# A model of one's own: an algorithmic task, and hook points in any module.
from lens import compat; compat.install()
import torch
import torch.nn as nn
from transformer_lens import HookedTransformer, HookedTransformerConfig
from transformer_lens.hook_points import HookedRootModule, HookPoint

torch.set_grad_enabled(True)
p = 7
cfg = HookedTransformerConfig(
    n_layers=1, n_heads=2, d_model=16, d_head=8, d_mlp=32, act_fn="relu", normalization_type=None, d_vocab=p + 1,
    d_vocab_out=p, n_ctx=3, init_weights=True, device="cpu", seed=999,
)
model = HookedTransformer(cfg)
for name, param in model.named_parameters():
    if "b_" in name:
        param.requires_grad = False
a, b = torch.meshgrid(torch.arange(p), torch.arange(p), indexing="ij")
dataset = torch.stack([a.flatten(), b.flatten(), torch.full((p * p,), p)], dim=1).to("cpu")
labels = (dataset[:, 0] + dataset[:, 1]) % p
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=1.0, betas=(0.9, 0.98))


def loss_fn(logits, labels):
    if len(logits.shape) == 3:
        logits = logits[:, -1]
    log_probs = logits.to(torch.float64).log_softmax(dim=-1)
    return -log_probs.gather(dim=-1, index=labels[:, None])[:, 0].mean()


losses = []
for epoch in range(40):
    loss = loss_fn(model(dataset), labels)
    loss.backward()
    losses.append(loss.item())
    optimizer.step()
    optimizer.zero_grad()
state = model.state_dict()
again = HookedTransformer(cfg)
again.load_state_dict(state)
logits, cache = again.run_with_cache(dataset)
neuron_acts = cache["post", 0, "mlp"][:, -1, :]


class SquareThenAdd(nn.Module):
    def __init__(self, offset):
        super().__init__()
        self.offset = nn.Parameter(torch.tensor(offset))
        self.hook_square = HookPoint()

    def forward(self, x):
        return self.offset + self.hook_square(x * x)


class TwoLayerModel(HookedRootModule):
    def __init__(self):
        super().__init__()
        self.layer1 = SquareThenAdd(3.0)
        self.layer2 = SquareThenAdd(-4.0)
        self.hook_in = HookPoint()
        self.hook_mid = HookPoint()
        self.hook_out = HookPoint()
        super().setup()

    def forward(self, x):
        x_in = self.hook_in(x)
        x_mid = self.hook_mid(self.layer1(x_in))
        return self.hook_out(self.layer2(x_mid))


toy = TwoLayerModel()
out, toy_cache = toy.run_with_cache(torch.tensor(5.0))
def set_to_zero_hook(tensor, hook):
    return torch.tensor(0.0)
patched = toy.run_with_hooks(torch.tensor(5.0), fwd_hooks=[("layer2.hook_square", set_to_zero_hook)])
