"""Data that every contestant draws alike (see ../../runner/random.ts), and the shape of a task."""

import numpy as np
import torch


def draw(shape, seed, stream, scale=1.0):
    size = int(np.prod(shape))
    start = (seed * 0x9E3779B9 & 0xFFFFFFFF) ^ (stream * 0x7F4A7C15 & 0xFFFFFFFF)
    x = np.arange(size, dtype=np.uint32)
    x += np.uint32(start)
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x85EBCA6B)
    x ^= x >> np.uint32(13)
    x *= np.uint32(0xC2B2AE35)
    x ^= x >> np.uint32(16)
    spread = (x >> np.uint32(8)).astype(np.float64) / 2**23 - 1
    return torch.from_numpy((spread * (scale * np.sqrt(3.0))).astype(np.float32).reshape(shape))


def draw_integers(size, seed, stream, below):
    u = draw([size], seed, stream, 1 / np.sqrt(3.0)).numpy().astype(np.float64)
    return np.floor((u + 1) / 2 * below).astype(np.int64)


def draw_offsets(groups, rows, seed):
    counts = np.bincount(draw_integers(rows, seed, 99, groups), minlength=groups)
    return np.concatenate([[0], np.cumsum(counts)])


class Task:
    """Work that makes a dictionary of tensors."""

    def __init__(self, make):
        self.make = make

    def run(self):
        self.make()

    def outputs(self):
        return self.make()


def with_gradients(f, inputs, ct):
    """A task of `f(*inputs)` and its gradients under a cotangent. `inputs` are named tensors."""
    leaves = {name: t.requires_grad_() for name, t in inputs.items()}

    def make():
        y = f(*leaves.values())
        grads = torch.autograd.grad(y, list(leaves.values()), ct)
        return {"y": y, **{f"d{name}": g for name, g in zip(leaves, grads)}}

    return Task(make)
