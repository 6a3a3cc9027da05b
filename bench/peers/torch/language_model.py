"""The language model of ../switchyard/languageModel.ts, written by hand for speed: same parameters, same batches, same updates."""

import torch
import torch.nn.functional as F

import mixture
from ready import draw, draw_integers


def parameter_list(sizes):
    """Names, shapes and scales in the order of ../parameters.ts: the place in the list is the stream."""
    vocab, dim, hidden, experts, layers = (sizes[n] for n in ("vocab", "dim", "hidden", "experts", "layers"))
    found = [("embedding", [vocab, dim], 0.02)]
    for i in range(layers):
        found += [
            (f"{i}.qkv", [dim, 3 * dim], dim**-0.5),
            (f"{i}.out", [dim, dim], (2 * layers * dim) ** -0.5),
            (f"{i}.gate", [dim, experts], dim**-0.5),
            (f"{i}.w1", [experts, dim, hidden], dim**-0.5),
            (f"{i}.w3", [experts, dim, hidden], dim**-0.5),
            (f"{i}.w2", [experts, hidden, dim], hidden**-0.5),
        ]
    return found + [("head", [dim, vocab], 0.1 * dim**-0.5)]


class LanguageModel:
    def __init__(self, sizes, seed, products):
        self.sizes, self.seed, self.products, self.step = sizes, seed, products, 0
        dim, layers, heads, context = (sizes[n] for n in ("dim", "layers", "heads", "context"))
        drawn = enumerate(parameter_list(sizes))
        self.p = {name: draw(shape, seed, i, scale).requires_grad_() for i, (name, shape, scale) in drawn}
        norms = [f"{i}.{which}" for i in range(layers) for which in ("attentionNorm", "norm")] + ["norm"]
        self.scales = {name: torch.ones(dim, requires_grad=True) for name in norms}
        groups = [
            {"params": list(self.p.values()), "weight_decay": 0.1},
            {"params": list(self.scales.values()), "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=1e-3, fused=True)
        half = dim // heads // 2
        angle = torch.arange(context)[:, None] * 10000.0 ** (-torch.arange(half) / half)
        self.cos, self.sin = angle.cos(), angle.sin()

    def rotate(self, x):
        a, b = x.chunk(2, -1)
        return torch.cat([a * self.cos - b * self.sin, b * self.cos + a * self.sin], -1)

    def attention(self, i, x):
        batch, steps, dim = x.shape
        heads = self.sizes["heads"]
        parts = (x @ self.p[f"{i}.qkv"]).split(dim, -1)
        q, k, v = (t.view(batch, steps, heads, dim // heads).transpose(1, 2) for t in parts)
        y = F.scaled_dot_product_attention(self.rotate(q), self.rotate(k), v, is_causal=True)
        return y.transpose(1, 2).reshape(batch, steps, dim) @ self.p[f"{i}.out"]

    def normed(self, name, x):
        return F.rms_norm(x, [x.shape[-1]], self.scales[name], 1e-5)

    def loss(self, tokens, targets):
        p, k = self.p, self.sizes["k"]
        x = F.embedding(tokens, p["embedding"])
        for i in range(self.sizes["layers"]):
            x = x + self.attention(i, self.normed(f"{i}.attentionNorm", x))
            rows = self.normed(f"{i}.norm", x).reshape(-1, x.shape[-1])
            weights = (p[f"{i}.{name}"] for name in ("gate", "w1", "w3", "w2"))
            x = x + mixture.layer(rows, *weights, k, self.products).view(x.shape)
        logits = self.normed("norm", x) @ p["head"]
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def run(self):
        batch, context, vocab = (self.sizes[n] for n in ("batch", "context", "vocab"))
        ids = draw_integers(batch * (context + 1), self.seed, 1000 + self.step, vocab)
        text = torch.from_numpy(ids).view(batch, context + 1)
        loss = self.loss(text[:, :-1], text[:, 1:])
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([*self.p.values(), *self.scales.values()], 1.0)
        self.optimizer.step()
        self.step += 1
        return loss.item()

    def outputs(self):
        fresh = LanguageModel(self.sizes, self.seed, self.products)
        return {"losses": torch.tensor([fresh.run() for _ in range(3)])}


def step(sizes, seed):
    return mixture.faster(LanguageModel(sizes, seed, products) for products in (mixture.looped, mixture.grouped))


tasks = {"step": step}
