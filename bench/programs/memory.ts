/** Trains a small mixture for so many steps and prints what stays in memory, as JSON. `newcomer`: without `donate` or `dispose`. */
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
  readonly peakBytes: number;
  readonly seconds: number;
}

const newcomer = process.argv.includes("newcomer");
const steps = Number(process.argv.at(-1));

await init("wasm");
const layer = moe({ dim: 16, hidden: 32, experts: 4, router: softmaxTopK({ k: 2 }) });
const optimizer = adamw({ learningRate: 1e-3 });
const loss = (params: ReturnType<typeof layer.init>, x: Tensor): Tensor =>
  layer.apply(params, x).output.sub(x).square().mean();

let params = layer.init(random.key(0));
let state = optimizer.init(params);
await realize([params, state]);
const samples: MemoryTrace["samples"][number][] = [];
const began = performance.now();
for (let step = 1; step <= steps; step++) {
  const x = random.normal(random.key(step), [64, 16]);
  const [value, grads] = valueAndGrad(loss)(params, x);
  const [nextParams, nextState] = optimizer.update(params, grads, state);
  await realize([value, nextParams, nextState], newcomer ? {} : { donate: [params, state] });
  [params, state] = [nextParams, nextState];
  if (!newcomer) value.dispose();
  if (step % 50 === 0) sample(step);
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
console.log(JSON.stringify({ samples, peakBytes, seconds: (performance.now() - began) / 1000 } satisfies MemoryTrace));
process.exit(0);
