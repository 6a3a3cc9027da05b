import { Worker } from "node:worker_threads";
import type { Ceilings } from "../../tasks.ts";

/** What a ceiling worker is told. */
export interface CeilingOrder {
  /** When all begin, in milliseconds of the epoch. */
  readonly at: number;
  readonly ms: number;
  /** Whether the engine fuses to 256 bits, which has a register tile of its own. */
  readonly wide: boolean;
}

/** The rates of this process on a number of threads that all work at once: what no kernel of ours can pass. */
export async function measureCeilings(threads: number, wide: boolean): Promise<Ceilings> {
  const order: CeilingOrder = { at: Date.now() + 700, ms: 200, wide };
  const rates = await Promise.all(Array.from({ length: threads }, () => rateOf(order)));
  return {
    gflops: rates.reduce((sum, r) => sum + r.gflops, 0),
    gigabytesPerSecond: rates.reduce((sum, r) => sum + r.gigabytesPerSecond, 0),
  };
}

const rateOf = (workerData: CeilingOrder): Promise<Ceilings> =>
  new Promise((resolve, reject) => {
    const worker = new Worker(new URL("ceilingWorker.ts", import.meta.url), { workerData });
    worker.once("message", resolve);
    worker.once("error", reject);
  });
