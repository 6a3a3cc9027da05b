/** Prints what steps of tiny operations cost, as JSON. */
import { init, realize, tensor, type Tensor } from "@switchyard/tensor";
import { median } from "../runner/statistics.ts";

export interface Overheads {
  readonly steps: readonly {
    readonly nodes: number;
    /** Writing the graph. */
    readonly graphMs: number;
    /** From `realize` to its end. */
    readonly runMs: number;
    readonly allMs: number;
  }[];
  readonly singleUs: number;
}

await init("wasm");

/** `nodes` operations, of which one in four is a reduction, which ends a kernel; the numbers change with `step`. */
function write(x: Tensor, nodes: number, step: number): Tensor {
  let y = x;
  for (let i = 0; i < nodes; i += 4)
    y = y
      .sub(y.sum(0, { keepDims: true }))
      .mul(0.5)
      .add(step);
  return y;
}

async function measure(nodes: number) {
  const x = tensor(Float32Array.from({ length: 8 }, () => Math.random()));
  const [graph, run, all]: [number[], number[], number[]] = [[], [], []];
  for (let step = 0; step < 60; step++) {
    const began = performance.now();
    const y = write(x, nodes, step);
    const written = performance.now();
    await realize(y);
    const ended = performance.now();
    y.dispose();
    if (step < 20) continue;
    graph.push(written - began);
    run.push(ended - written);
    all.push(ended - began);
  }
  return { nodes, graphMs: median(graph), runMs: median(run), allMs: median(all) };
}

async function single(): Promise<number> {
  const x = tensor(Float32Array.of(1, 2, 3));
  const times: number[] = [];
  for (let step = 0; step < 2000; step++) {
    const began = performance.now();
    const y = x.mul(step);
    await realize(y);
    times.push(performance.now() - began);
    y.dispose();
  }
  return 1000 * median(times.slice(500));
}

const steps = [await measure(100), await measure(500), await measure(2000)];
console.log(JSON.stringify({ steps, singleUs: await single() } satisfies Overheads));
process.exit(0);
