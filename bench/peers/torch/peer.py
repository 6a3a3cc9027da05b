"""PyTorch on the CPU: answers the runner's requests, one JSON object a line. See ../../runner/protocol.ts."""

import base64
import json
import sys
import time
import traceback

import numpy as np
import torch

from arithmetic import tasks as arithmetic
from mixture import stock_tasks, tasks as mixture
from language_model import tasks as language_model

TASKS = stock_tasks if "stock" in sys.argv else {**arithmetic, **mixture, **language_model}
SAMPLE_SIZE = 65536


def encode(values):
    flat = np.ascontiguousarray(values.detach().numpy(), dtype=np.float32).reshape(-1)
    stride = -(-flat.size // SAMPLE_SIZE) | 1
    return base64.b64encode(np.ascontiguousarray(flat[::stride]).tobytes()).decode()


def timed(run, ms, at_most):
    times = []
    end = time.perf_counter() + ms / 1000
    while True:
        began = time.perf_counter()
        run()
        now = time.perf_counter()
        times.append((now - began) * 1000)
        if now >= end or len(times) >= at_most:
            return times


def answer(request, state):
    ask = request["ask"]
    if ask == "start":
        return {"version": torch.__version__, "threads": torch.get_num_threads()}
    if ask == "prepare":
        make = TASKS.get(request["task"])
        if make is None:
            return f"has no {request['task']}"
        state[request["trial"]] = make(request["sizes"], request["seed"])
        timed(state[request["trial"]].run, request["warmUp"], 200)
        return None
    if ask == "sample":
        return {name: encode(t) for name, t in state[request["trial"]].outputs().items()}
    if ask == "time":
        return timed(state[request["trial"]].run, request["ms"], request["atMost"])
    state.clear()
    return None


def main():
    state = {}
    for line in sys.stdin:
        try:
            reply = {"value": answer(json.loads(line), state)}
        except Exception:
            reply = {"error": traceback.format_exc()[-2000:]}
        print("@bench " + json.dumps(reply), flush=True)


main()
