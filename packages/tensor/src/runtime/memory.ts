import type { DeviceName } from "../types.ts";
import type { Owner } from "./storage.ts";

/** What is alive on one device. */
export interface DeviceLedger {
  liveTensors: number;
  liveBytes: number;
  peakBytes: number;
  /** Live bytes after the last collection that the runtime provoked. */
  survivedBytes: number;
  readonly owners: Map<{ readonly bytes: number }, Owner>;
}

const ledgers: { [D in DeviceName]?: DeviceLedger } = {};

export function ledgerOf(device: DeviceName): DeviceLedger {
  return (ledgers[device] ??= { liveTensors: 0, liveBytes: 0, peakBytes: 0, survivedBytes: 0, owners: new Map() });
}

/** Below four times this a collection is not worth its pause; a WebAssembly memory that has once grown never shrinks. */
const floorBytes = 16 * 2 ** 20;

/**
 * JavaScript's collector does not feel device memory. Once live bytes pass four times what survived the last collection,
 * this provokes one and lets the finalizers run.
 */
export function underPressure(device: DeviceName): boolean {
  const { liveBytes, survivedBytes } = ledgerOf(device);
  return liveBytes > 4 * Math.max(survivedBytes, floorBytes);
}

/** Hears of collections: what it watches dies with the first. */
const canaries = new FinalizationRegistry<() => void>((collected) => collected());

/** 25 GiB of buffers: an engine that does not collect by then never will. */
const mostTurns = 400;

/**
 * Drops large host buffers, which V8 does feel, until a collection has run, and lets the finalizers run too: what was out of reach
 * when this began is gone after it. One buffer only starts V8 marking. Two to five bring the collection about in a small heap, in 10-40 ms;
 * in one of 150 MB, or where others want the cores, more than 60.
 *
 * @returns whether one has run.
 */
export async function collection(): Promise<boolean> {
  let collected = false;
  canaries.register({}, () => (collected = true));
  for (let turn = 0; turn < mostTurns && !collected; turn++) {
    dropLargeBuffer();
    await macrotask();
  }
  await macrotask();
  return collected;
}

/** Collects, and remembers how many bytes of the device that has left alive. */
export async function provokeCollection(device: DeviceName): Promise<void> {
  await collection();
  const ledger = ledgerOf(device);
  ledger.survivedBytes = ledger.liveBytes;
}

const macrotask = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));

/** V8 counts the bytes when the buffer is made; nobody keeps it. */
const dropLargeBuffer = (): ArrayBuffer => new ArrayBuffer(64 * 2 ** 20);

/** The largest owners, summed by op and scope, as an out-of-memory message lists them. */
export function largestOwners(device: DeviceName, most = 5): string {
  const sums = new Map<string, number>();
  for (const [{ bytes }, { op, scope, line }] of ledgerOf(device).owners) {
    const name = [op, scope && `in ${scope}`, line && `at ${line}`].filter(Boolean).join(" ");
    sums.set(name, (sums.get(name) ?? 0) + bytes);
  }
  const largest = [...sums].toSorted((a, b) => b[1] - a[1]).slice(0, most);
  return largest.map(([name, bytes]) => `${name}: ${(bytes / 2 ** 20).toFixed(1)} MiB`).join(", ");
}
