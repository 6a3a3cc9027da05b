"""A mixture layer, written by hand for speed: tokens sorted by expert, one product for each expert."""

from time import perf_counter

import torch
import torch.nn.functional as F

from ready import Task, draw, with_gradients


def route(logits, k):
    """Weights and the order of (token, choice) pairs by expert, with the counts that the host needs to cut runs."""
    values, chosen = torch.topk(logits, k)
    weights = F.softmax(values, -1)
    order = torch.argsort(chosen.reshape(-1), stable=True)
    counts = torch.bincount(chosen.reshape(-1), minlength=logits.shape[1])
    return weights.reshape(-1)[order], order, counts


def looped(x, counts, w1, w3, w2):
    """One product at a time: `unbind` gives the gradient of a stack in one piece, where indexing would give E of them."""
    sizes = counts.tolist()
    runs = zip(x.split(sizes), w1.unbind(), w3.unbind(), w2.unbind())
    return torch.cat([(F.silu(r @ a) * (r @ b)) @ c for r, a, b, c in runs])


def grouped(x, counts, w1, w3, w2):
    offsets = counts.cumsum(0).to(torch.int32)
    inner = F.silu(torch._grouped_mm(x, w1, offs=offsets)) * torch._grouped_mm(x, w3, offs=offsets)
    return torch._grouped_mm(inner, w2, offs=offsets)


def layer(x, gate, w1, w3, w2, k, products):
    weights, order, counts = route(x @ gate, k)
    token = order // k
    rows = products(x[token], counts, w1, w3, w2) * weights[:, None]
    return torch.zeros_like(x).index_add(0, token, rows)


def moe(sizes, seed, products):
    tokens, dim, hidden, experts, k = (sizes[name] for name in ("tokens", "dim", "hidden", "experts", "k"))
    inputs = {
        "x": draw([tokens, dim], seed, 0),
        "gate": draw([dim, experts], seed, 1, dim**-0.5),
        "w1": draw([experts, dim, hidden], seed, 2, dim**-0.5),
        "w3": draw([experts, dim, hidden], seed, 3, dim**-0.5),
        "w2": draw([experts, hidden, dim], seed, 4, hidden**-0.5),
    }
    return with_gradients(lambda *p: layer(*p, k, products), inputs, draw([tokens, dim], seed, 5))


def faster(tasks):
    """Of several ways to do the same, the fastest here, tried at the sizes asked for."""

    def seconds(task):
        task.run()
        began = perf_counter()
        task.run()
        return perf_counter() - began

    return min(tasks, key=seconds)


def best_moe(sizes, seed):
    return faster(moe(sizes, seed, products) for products in (looped, grouped))


def stock_moe(sizes, seed):
    """The block that Hugging Face ships for Mixtral, with the same weights."""
    from transformers.models.mixtral.configuration_mixtral import MixtralConfig
    from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock

    tokens, dim, hidden, experts, k = (sizes[name] for name in ("tokens", "dim", "hidden", "experts", "k"))
    config = MixtralConfig(hidden_size=dim, intermediate_size=hidden, num_local_experts=experts, num_experts_per_tok=k)
    block = MixtralSparseMoeBlock(config)
    x = draw([1, tokens, dim], seed, 0).requires_grad_()
    ct = draw([1, tokens, dim], seed, 5)
    with torch.no_grad():
        block.gate.weight.copy_(draw([dim, experts], seed, 1, dim**-0.5).T)
        w1 = draw([experts, dim, hidden], seed, 2, dim**-0.5).transpose(1, 2)
        w3 = draw([experts, dim, hidden], seed, 3, dim**-0.5).transpose(1, 2)
        block.experts.gate_up_proj.copy_(torch.cat([w1, w3], 1))
        block.experts.down_proj.copy_(draw([experts, hidden, dim], seed, 4, hidden**-0.5).transpose(1, 2))

    def make():
        y = block(x)
        leaves = [x, block.gate.weight, block.experts.gate_up_proj, block.experts.down_proj]
        dx, dgate, dup, ddown = torch.autograd.grad(y, leaves, ct)
        dw1, dw3 = (g.transpose(1, 2) for g in dup.split(hidden, 1))
        return {"y": y, "dx": dx, "dgate": dgate.T, "dw1": dw1, "dw3": dw3, "dw2": ddown.transpose(1, 2)}

    return Task(make)


def dense(sizes, seed):
    tokens, dim, hidden = (sizes[name] for name in ("tokens", "dim", "hidden"))
    inputs = {
        "x": draw([tokens, dim], seed, 0),
        "w1": draw([dim, hidden], seed, 2, dim**-0.5),
        "w3": draw([dim, hidden], seed, 3, dim**-0.5),
        "w2": draw([hidden, dim], seed, 4, hidden**-0.5),
    }
    return with_gradients(lambda x, a, b, c: (F.silu(x @ a) * (x @ b)) @ c, inputs, draw([tokens, dim], seed, 5))


tasks = {"moe": best_moe, "dense": dense}
stock_tasks = {"moe": stock_moe}
