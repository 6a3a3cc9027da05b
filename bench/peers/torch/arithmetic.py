import torch
import torch.nn.functional as F

from ready import Task, draw, draw_offsets, with_gradients


def matmul(sizes, seed):
    n = sizes["n"]
    a, b = draw([n, n], seed, 0), draw([n, n], seed, 1)
    return Task(lambda: {"y": a @ b})


def softmax(sizes, seed):
    shape = [sizes["rows"], sizes["cols"]]
    return with_gradients(lambda x: F.softmax(x, -1), {"x": draw(shape, seed, 0)}, draw(shape, seed, 1))


def layer_norm(sizes, seed):
    cols = sizes["cols"]
    shape = [sizes["rows"], cols]
    inputs = {"x": draw(shape, seed, 0), "scale": torch.ones(cols), "shift": torch.zeros(cols)}
    return with_gradients(lambda x, w, b: F.layer_norm(x, [cols], w, b), inputs, draw(shape, seed, 1))


def gelu(sizes, seed):
    shape = [sizes["size"]]
    return with_gradients(F.gelu, {"x": draw(shape, seed, 0)}, draw(shape, seed, 1))


def chain(sizes, seed):
    a, b, c = (draw([sizes["size"]], seed, stream) for stream in range(3))
    return Task(lambda: {"y": torch.sqrt(torch.square(a * b + c) + 1)})


def row_sum(sizes, seed):
    x = draw([sizes["rows"], sizes["cols"]], seed, 0)
    return Task(lambda: {"y": x.sum(1)})


def grouped_matmul(sizes, seed):
    groups, rows, inner, cols = (sizes[name] for name in ("groups", "rows", "inner", "cols"))
    x, w, ct = draw([rows, inner], seed, 0), draw([groups, inner, cols], seed, 1), draw([rows, cols], seed, 2)
    offsets = draw_offsets(groups, rows, seed)
    runs = [slice(offsets[g], offsets[g + 1]) for g in range(groups)]

    def make():
        y, dw = torch.empty(rows, cols), torch.empty(groups, inner, cols)
        for g, run in enumerate(runs):
            torch.mm(x[run], w[g], out=y[run])
            torch.mm(x[run].T, ct[run], out=dw[g])
        return {"y": y, "dw": dw}

    return Task(make)


tasks = {
    "matmul": matmul,
    "softmax": softmax,
    "layerNorm": layer_norm,
    "gelu": gelu,
    "chain": chain,
    "sum": row_sum,
    "groupedMatmul": grouped_matmul,
}
