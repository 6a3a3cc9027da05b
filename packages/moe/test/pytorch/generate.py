"""Writes reference.json: values and gradients as PyTorch computes them, in f64, from inputs of three decimals.

Run it again only to add a case: pip install torch==2.13.0 numpy && python generate.py
"""

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
drawn = np.random.RandomState(0)


def draw(*shape, scale=1.0):
    return torch.tensor(np.round(drawn.standard_normal(shape) * scale, 3), requires_grad=True)


def listed(x):
    if isinstance(x, torch.Tensor):
        return listed(x.detach().tolist())
    if isinstance(x, (list, tuple)):
        return [listed(v) for v in x]
    if isinstance(x, dict):
        return {k: listed(v) for k, v in x.items()}
    return float(f"{x:.14g}") if isinstance(x, float) else x


def case(inputs, loss, outputs):
    """Inputs, outputs, and the gradients of a scalar by every input that is a float."""
    floats = {k: v for k, v in inputs.items() if isinstance(v, torch.Tensor) and v.requires_grad}
    grads = torch.autograd.grad(loss, list(floats.values()), allow_unused=True, retain_graph=True)
    given = {k: torch.zeros_like(v) if g is None else g for (k, v), g in zip(floats.items(), grads)}
    return listed({"inputs": inputs, "outputs": {**outputs, "loss": loss}, "grads": given})


def projected(y):
    """A scalar that depends on every element of y in its own way."""
    return (y * torch.cos(torch.arange(y.numel()).reshape(y.shape) + 1.0)).sum()


def cv_squared(v, correction=0):
    return v.var(correction=correction) / (v.mean() ** 2 + 1e-10)


# Routing


def scattered(weights, chosen, count):
    return torch.zeros(weights.shape[0], count).scatter(1, chosen, weights)


def noisy_top_k(x, gate, noise, drawn_noise, k):
    clean = x @ gate
    std = F.softplus(x @ noise) + 1e-2
    noisy = clean + drawn_noise * std
    values, chosen = noisy.topk(k)
    gates = scattered(values.softmax(-1), chosen, clean.shape[1])
    return clean, std, noisy, chosen, gates


def load_of(clean, std, noisy, chosen, k, detach):
    best = noisy.topk(k + 1).values
    inside = torch.zeros_like(clean, dtype=torch.bool).scatter(1, chosen, True)
    threshold = torch.where(inside, best[:, k : k + 1], best[:, k - 1 : k])
    threshold = threshold.detach() if detach else threshold
    return torch.distributions.Normal(0.0, 1.0).cdf((clean - threshold) / std).sum(0)


activations = {"relu": F.relu, "gelu": F.gelu, "silu": F.silu, "swiglu": F.silu}


def expert(x, p, e, activation):
    inner = activations[activation](x @ p["w1"][e] + p["b1"][e])
    if activation == "swiglu":
        inner = inner * (x @ p["w3"][e])
    return inner @ p["w2"][e] + p["b2"][e]


def mixture(x, gates, p, activation):
    return sum(gates[:, e : e + 1] * expert(x, p, e, activation) for e in range(gates.shape[1]))


def expert_params(E, D, H, activation):
    p = {"w1": draw(E, D, H), "b1": draw(E, H), "w2": draw(E, H, D), "b2": draw(E, D)}
    return {**p, "w3": draw(E, D, H)} if activation == "swiglu" else p


def noisy_layer():
    T, D, E, H, k = 7, 4, 5, 3, 2
    p = expert_params(E, D, H, "relu")
    x, gate, noise = draw(T, D), draw(D, E), draw(D, E, scale=0.5)
    eps = draw(T, E).detach()
    clean, std, noisy, chosen, gates = noisy_top_k(x, gate, noise, eps, k)
    importance = 0.1 * cv_squared(gates.sum(0))
    load = 0.1 * cv_squared(load_of(clean, std, noisy, chosen, k, detach=False))
    y = mixture(x, gates, p, "relu")
    inputs = {"x": x, "gate": gate, "noise": noise, **p}
    made = case(inputs, projected(y) + importance + load, {"y": y, "importance": importance, "load": load, "chosen": chosen})
    made["inputs"]["drawn"] = listed(eps)
    return made


def balance_losses():
    """Every auxiliary loss of one routing, each with its gradients by the router's parameters."""
    T, D, E, k = 9, 4, 6, 2
    x, gate, noise = draw(T, D), draw(D, E), draw(D, E, scale=0.5)
    eps = draw(T, E).detach()
    clean, std, noisy, chosen, gates = noisy_top_k(x, gate, noise, eps, k)
    probs = clean.softmax(-1)
    sent = torch.bincount(chosen.flatten(), minlength=E).double()
    first = torch.bincount(chosen[:, 0], minlength=E).double()

    def switch(fraction):
        return E * (fraction * probs.mean(0)).sum()

    losses = {
        "importance": cv_squared(gates.sum(0)),
        "importanceUnbiased": cv_squared(gates.sum(0), correction=1),
        "loadAttached": cv_squared(load_of(clean, std, noisy, chosen, k, detach=False)),
        "loadDetached": cv_squared(load_of(clean, std, noisy, chosen, k, detach=True)),
        "switchPerToken": switch(sent / (T * k)),
        "switchPerChoice": switch(sent / T),
        "switchFirstChoice": switch(first / T),
        "z": (torch.logsumexp(clean, -1) ** 2).mean(),
    }
    inputs = {"x": x, "gate": gate, "noise": noise}
    cases = {name: case(inputs, loss, {}) for name, loss in losses.items()}
    shared = next(iter(cases.values()))["inputs"]
    return {
        "inputs": {**shared, "drawn": listed(eps)},
        "losses": {name: {"loss": c["outputs"]["loss"], "grads": c["grads"]} for name, c in cases.items()},
    }


def softmax_layer(activation, renormalize):
    T, D, E, H, k = 6, 4, 4, 3, 2
    p = expert_params(E, D, H, activation)
    x, gate = draw(T, D), draw(D, E)
    probs = (x @ gate).softmax(-1)
    weights, chosen = probs.topk(k)
    weights = weights / weights.sum(-1, keepdim=True) if renormalize else weights
    y = mixture(x, scattered(weights, chosen, E), p, activation)
    return case({"x": x, "gate": gate, **p}, projected(y), {"y": y})


# What models are made of


def cross_entropy():
    logits = draw(5, 4, scale=3)
    targets = torch.tensor([0, 3, 1, 1, 2])
    mask = torch.tensor([True, True, False, True, False])
    made = case({"logits": logits}, F.cross_entropy(logits, targets), {})
    masked = F.cross_entropy(logits, targets.where(mask, torch.tensor(-100)))
    made["masked"] = case({"logits": logits}, masked, {})
    made["inputs"].update(listed({"targets": targets, "mask": mask}))
    return made


def norms():
    x, scale, shift = draw(3, 6, scale=2), draw(6), draw(6)
    layer = F.layer_norm(x, [6], scale, shift, 1e-5)
    rms = F.rms_norm(x, [6], scale, 1e-5)
    inputs = {"x": x, "scale": scale, "shift": shift}
    return {"layer": case(inputs, projected(layer), {"y": layer}), "rms": case(inputs, projected(rms), {"y": rms})}


def attention():
    B, S, D, heads, groups = 2, 5, 8, 4, 2
    width = D // heads
    x, qkv, out = draw(B, S, D), draw(D, D + 2 * groups * width, scale=0.5), draw(D, D, scale=0.5)
    angle = torch.arange(S)[:, None] / 100.0 ** (torch.arange(width // 2) * 2 / width)

    def turned(v):
        a, b = v.chunk(2, -1)
        return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], -1)

    parts = (x @ qkv).split([D, groups * width, groups * width], -1)
    q, k, v = (part.reshape(B, S, -1, width).transpose(1, 2) for part in parts)
    heard = F.scaled_dot_product_attention(turned(q), turned(k), v, is_causal=True, enable_gqa=True)
    y = heard.transpose(1, 2).reshape(B, S, D) @ out
    return case({"x": x, "qkv": qkv, "out": out}, projected(y), {"y": y})


def lstm():
    B, S, D, H = 2, 5, 3, 4
    x, into, hidden, bias = draw(B, S, D), draw(D, 4 * H, scale=0.5), draw(H, 4 * H, scale=0.5), draw(4 * H)
    cell = torch.nn.LSTM(D, H, batch_first=True)
    weights = {
        "weight_ih_l0": into.T,
        "weight_hh_l0": hidden.T,
        "bias_ih_l0": bias,
        "bias_hh_l0": torch.zeros(4 * H),
    }
    y, _ = torch.func.functional_call(cell, weights, (x,))
    return case({"x": x, "input": into, "hidden": hidden, "bias": bias}, projected(y), {"y": y})


# Optimizers: the parameter after each of some steps whose gradients are given


def trajectory(make, steps=6):
    p = draw(3, 2)
    grads = [draw(3, 2, scale=2).detach() for _ in range(steps)]
    start = p.detach().clone()
    optimizer = make([p])
    after = []
    for g in grads:
        p.grad = g.clone()
        optimizer.step()
        after.append(p.detach().clone())
    return listed({"start": start, "grads": grads, "after": after})


optim = torch.optim
optimizers = {
    "sgd": lambda p: optim.SGD(p, lr=0.1),
    "momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.05),
    "nesterov": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.05),
    "adam": lambda p: optim.Adam(p, lr=0.05, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1),
    "adamw": lambda p: optim.AdamW(p, lr=0.05, weight_decay=0.1),
    "adafactor": lambda p: optim.Adafactor(p),
}


def clipped():
    """Gradients clipped to a global norm. PyTorch adds 1e-6 to the norm, which a large norm hides."""
    a, b = draw(2, 3, scale=100).detach(), draw(4, scale=100).detach()
    p = [torch.zeros_like(a, requires_grad=True), torch.zeros_like(b, requires_grad=True)]
    for q, g in zip(p, [a, b]):
        q.grad = g.clone()
    norm = torch.nn.utils.clip_grad_norm_(p, 3.0)
    return listed({"grads": [a, b], "clipped": [q.grad for q in p], "norm": norm})


reference = {
    "noisyLayer": noisy_layer(),
    "balanceLosses": balance_losses(),
    "softmaxLayers": {
        f"{activation}, {'renormalized' if renormalize else 'as they are'}": softmax_layer(activation, renormalize)
        for activation, renormalize in [("swiglu", True), ("gelu", False), ("silu", True)]
    },
    "crossEntropy": cross_entropy(),
    "norms": norms(),
    "attention": attention(),
    "lstm": lstm(),
    "optimizers": {name: trajectory(make) for name, make in optimizers.items()},
    "clipped": clipped(),
}
path = Path(__file__).with_name("reference.json")
cases = (f'"{name}":{json.dumps(made, separators=(",", ":"))}' for name, made in reference.items())
path.write_text("{\n" + ",\n".join(cases) + "\n}\n")
print(path, path.stat().st_size, "bytes")
