import { ceilings, profile, type DeviceName } from "@switchyard/tensor";
import type { Run } from "../training/train.ts";
import type { ProfileEvent } from "./report/events.ts";

/** Which step of its run is timed: by then all kernels are compiled, and compiled well. */
const timed = 5;

/**
 * Where the time of a training step goes, kernel by kernel, and what the device could do at best.
 *
 * @param runOf a run of so many steps, which should neither judge nor keep anything.
 */
export async function profileStep(
  runOf: (steps: number) => Run<unknown, unknown>,
  device: DeviceName,
): Promise<ProfileEvent> {
  const steps = runOf(timed)[Symbol.asyncIterator]();
  for (let i = 1; i < timed; i++) await steps.next();
  const began = performance.now();
  const { kernels } = await profile(() => steps.next());
  const milliseconds = performance.now() - began;
  await steps.next();
  return { event: "profile", milliseconds, kernels, ...(device !== "cpu" && { ceilings: await ceilings() }) };
}
