/**
 * `node --expose-gc memory.ts [newcomer] <warm-up> <steps>` trains a small mixture for so many steps, the warm-up among them, and prints what
 * stays in memory, as JSON. `newcomer`: without `donate` or `dispose`.
 */
import { getHeapSpaceStatistics } from "node:v8";
import { init, memory, random, realize, type Tensor } from "@switchyard/tensor";
import { adamw, valueAndGrad } from "@switchyard/autograd";
import { moe, softmaxTopK } from "@switchyard/moe";

export interface MemoryTrace {
  readonly samples: readonly {
    readonly step: number;
    readonly liveBytes: number;
    readonly liveTensors: number;
    readonly residentMiB: number;
    /** Of JavaScript objects, collected or not. */
    readonly heapMiB: number;
    /** What V8 holds for its young objects. It doubles, by what survives, up to a fixed size: thousands of steps until then. */
    readonly youngMiB: number;
  }[];
  /** Resident, with all collected that can be: after the warm-up, and after the last step. */
  readonly collectedMiB: readonly [number, number];
  readonly peakBytes: number;
  readonly seconds: number;
}

const newcomer = process.argv.includes("newcomer");
const [warmUp, steps] = process.argv.slice(-2).map(Number);

await init("wasm");
const layer = moe({ dim: 16, hidden: 32, experts: 4, router: softmaxTopK({ k: 2 }) });
const optimizer = adamw({ learningRate: 1e-3 });
const loss = (params: ReturnType<typeof layer.init>, x: Tensor): Tensor =>
  layer.apply(params, x).output.sub(x).square().mean();

let params = layer.init(random.key(0));
let state = optimizer.init(params);
await realize([params, state]);
const samples: MemoryTrace["samples"][number][] = [];
const collected: number[] = [];
const began = performance.now();
for (let step = 1; step <= steps; step++) {
  const x = random.normal(random.key(step), [64, 16]);
  const [value, grads] = valueAndGrad(loss)(params, x);
  const [nextParams, nextState] = optimizer.update(params, grads, state);
  await realize([value, nextParams, nextState], newcomer ? {} : { donate: [params, state] });
  [params, state] = [nextParams, nextState];
  if (!newcomer) value.dispose();
  if (step % 50 === 0) sample(step);
  if (step === warmUp || step === steps) collected.push(await residentAfterCollection());
}

/** MiB. The engine gives pages back a little later than it collects. */
async function residentAfterCollection(): Promise<number> {
  for (let i = 0; i < 3; i++) {
    globalThis.gc!();
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  return process.memoryUsage.rss() / 2 ** 20;
}

function sample(step: number): void {
  const { liveBytes, liveTensors } = memory();
  const { rss, heapUsed } = process.memoryUsage();
  const young = getHeapSpaceStatistics().find(({ space_name }) => space_name === "new_space")!;
  samples.push({
    step,
    liveBytes,
    liveTensors,
    residentMiB: rss / 2 ** 20,
    heapMiB: heapUsed / 2 ** 20,
    youngMiB: young.space_size / 2 ** 20,
  });
}

const { peakBytes } = memory();
const [before, after] = collected;
const seconds = (performance.now() - began) / 1000;
console.log(JSON.stringify({ samples, collectedMiB: [before, after], peakBytes, seconds } satisfies MemoryTrace));
process.exit(0);
