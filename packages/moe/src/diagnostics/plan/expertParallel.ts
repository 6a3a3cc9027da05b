import { ConfigError } from "@switchyard/tensor";
import { capacityOf } from "../../dispatch/capacity.ts";

/** Which experts each token went to, as plain numbers: see `recordRouting`. */
export interface RecordedChoices {
  readonly expertCount: number;
  /** `[T][k]`. */
  readonly experts: readonly (readonly number[])[];
  /** Real tokens; all if left out. */
  readonly mask?: readonly boolean[];
}

/** What one layer of experts, spread over devices, has to move and to compute for a batch. */
export interface ExpertParallel {
  readonly devices: number;
  readonly tokens: number;
  /** Bytes that all devices send in one direction: features to the experts, or answers back. A token goes to a device once, however many of its experts are there. */
  readonly allToAllBytes: number;
  /** What the busiest link of a device carries. */
  readonly busiestDeviceBytes: number;
  /** Pairs that each device computes. */
  readonly load: readonly number[];
  /** The slowest device's load over the mean: how many times longer a step takes than if all had the same. */
  readonly slowdown: number;
  /** Under limits of so many times the balanced load, by factor. */
  readonly capacity: readonly CapacityEffect[];
}

export interface CapacityEffect {
  readonly factor: number;
  /** Places of each expert. */
  readonly places: number;
  /** The share of pairs that find no place. */
  readonly dropped: number;
  /** The slowest device's load over the mean without a limit. */
  readonly slowdown: number;
  /** The share of places that stay empty, and are computed all the same where buffers have a fixed size. */
  readonly padding: number;
}

export interface ExpertParallelOptions {
  readonly devices: number;
  /** D. */
  readonly dim: number;
  readonly bytesPerNumber: number;
}

const factors = [1, 1.25, 1.5, 2];

/**
 * Plays a batch on N devices: tokens lie on them in equal runs, experts too, and each token's features travel to the devices of its
 * experts and back.
 *
 * @throws {ConfigError} if the devices do not divide the experts.
 */
export function simulateExpertParallel(
  { experts: choices, expertCount, mask }: RecordedChoices,
  { devices, dim, bytesPerNumber }: ExpertParallelOptions,
): ExpertParallel {
  if (expertCount % devices !== 0)
    throw new ConfigError(`plan: ${devices} devices do not divide ${expertCount} experts; choose a divisor`);
  const tokens = choices.length;
  const real = mask ? mask.filter(Boolean).length : tokens;
  const deviceOf = (expert: number): number => Math.floor(expert / (expertCount / devices));
  const counts = new Array<number>(expertCount).fill(0);
  const [sent, received] = [new Array<number>(devices).fill(0), new Array<number>(devices).fill(0)];
  choices.forEach((chosen, t) => {
    if (mask && !mask[t]) return;
    const home = Math.floor((t * devices) / tokens);
    for (const expert of chosen) counts[expert]++;
    for (const device of new Set(chosen.map(deviceOf))) {
      if (device === home) continue;
      sent[home]++;
      received[device]++;
    }
  });
  const bytes = (rows: number): number => rows * dim * bytesPerNumber;
  const load = byDevice(counts, devices);
  return {
    devices,
    tokens,
    allToAllBytes: bytes(sent.reduce((a, b) => a + b, 0)),
    busiestDeviceBytes: bytes(Math.max(...sent, ...received)),
    load,
    slowdown: overMean(load),
    capacity: factors.map((factor) =>
      capacityEffect(counts, factor, { devices, tokens: real, k: choices[0]?.length ?? 0 }),
    ),
  };
}

const byDevice = (counts: readonly number[], devices: number): number[] => {
  const each = counts.length / devices;
  return Array.from({ length: devices }, (_, d) => counts.slice(d * each, (d + 1) * each).reduce((a, b) => a + b, 0));
};

/** The greatest over the mean; 1 of nothing. */
const overMean = (load: readonly number[], mean = load.reduce((a, b) => a + b, 0) / load.length): number =>
  mean === 0 ? 1 : Math.max(...load) / mean;

function capacityEffect(
  counts: readonly number[],
  factor: number,
  { devices, tokens, k }: { devices: number; tokens: number; k: number },
): CapacityEffect {
  const places = capacityOf({ capacityFactor: factor }, { tokens, experts: counts.length, k });
  const kept = counts.map((count) => Math.min(count, places));
  const [asked, served] = [counts, kept].map((list) => list.reduce((a, b) => a + b, 0));
  return {
    factor,
    places,
    dropped: asked === 0 ? 0 : 1 - served / asked,
    slowdown: overMean(byDevice(kept, devices), asked / devices),
    padding: 1 - served / (places * counts.length),
  };
}
