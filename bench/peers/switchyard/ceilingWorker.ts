/** One thread's rates: the inner loop of our matrix product on panels that stay in the first-level cache, and copying. */
import { parentPort, workerData } from "node:worker_threads";
import { assemble, call, i32 } from "../../../packages/tensor/src/backend/wasm/assembler.ts";
import { detectFeatures, emitOptions } from "../../../packages/tensor/src/backend/wasm/features.ts";
import { REGISTER_TILE, WIDE_REGISTER_TILE } from "../../../packages/tensor/src/backend/wasm/kernels/matmulShape.ts";
import { defineBlock } from "../../../packages/tensor/src/backend/wasm/kernels/panels.ts";
import type { Ceilings } from "../../tasks.ts";
import type { CeilingOrder } from "./ceilings.ts";

const { at, ms, wide } = workerData as CeilingOrder;
const tile = wide ? WIDE_REGISTER_TILE : REGISTER_TILE;
const depth = 256;
const rows = 2 * tile.rows;
const repeats = 200;

/** `repeats` products of a panel pair: A at 0, B behind it, the result behind that. */
function microKernel(): () => void {
  const features = { ...detectFeatures({ revectorize: wide }), threads: false };
  const [b, c] = [4 * rows * depth, 4 * (rows + tile.cols) * depth];
  const pad = c + 4 * rows * tile.cols;
  const bytes = assemble(emitOptions(features), (m) => {
    m.importMemory("env", "memory");
    const block = defineBlock(m, tile);
    m.define(
      {},
      "void",
      (f) => {
        const index = f.local("i32");
        const numbers = [0, b, 4 * tile.cols * depth, depth, c, 4 * tile.cols, rows, tile.cols, 1, pad];
        f.for(index, 0, repeats, 1, () => f.do(call(block, ...numbers.map((x) => i32.const(x)))));
      },
      "run",
    );
  });
  const memory = new WebAssembly.Memory({ initial: 4 });
  const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
  return instance.exports.run as () => void;
}

/** How often per millisecond `work` can be done, from `start` on. */
function rate(work: () => void, start: number): number {
  while (Date.now() < start) work();
  const began = performance.now();
  let count = 0;
  do {
    work();
    count++;
  } while (performance.now() - began < ms);
  return count / (performance.now() - began);
}

const products = rate(microKernel(), at);
const [from, to] = [new Float32Array(2 ** 24).fill(1), new Float32Array(2 ** 24).fill(2)];
const copies = rate(() => to.set(from), at + 2 * ms);
parentPort!.postMessage({
  gflops: (products * repeats * 2 * rows * tile.cols * depth) / 1e6,
  gigabytesPerSecond: (copies * 2 * from.byteLength) / 1e6,
} satisfies Ceilings);
