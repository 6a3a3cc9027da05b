import { DeviceError, full, where, zeros, type DeviceName, type Tensor } from "@switchyard/tensor";
import { treeFlatten, treeLeaves, treeMap, treePaths, treeUnflatten } from "@switchyard/autograd";
import { backendOf, isFloat } from "@switchyard/tensor/graph";

/** What a loss and its gradient are computed in; parameters and the optimizer's state are f32 in both. */
export type Precision = "f32" | "f16";

/**
 * What a loss is multiplied by so that gradients in f16 do not underflow, and when it last changed. On the device: a step that overflows is found out
 * without reading anything back.
 *
 * Source: Micikevicius et al. 2018, "Mixed Precision Training", with the scale found as it goes.
 */
export interface LossScale {
  /** `f32[]`, a power of two, so that it changes no digits. */
  readonly scale: Tensor;
  /** `i32[]`: steps since it changed. */
  readonly good: Tensor;
}

/** As large as f16 has powers of two: too large costs a few skipped steps, too small goes unnoticed. */
const first = 2 ** 15;
/** Where gradients are all zero it would else grow for ever. */
const most = 2 ** 24;
/** Good steps before the scale is doubled: overflows then cost one step in so many at most. */
const patience = 200;

export const firstLossScale = (): LossScale => ({ scale: full([], first), good: zeros([], { dtype: "i32" }) });

/** @throws {DeviceError} if a device has no f16. */
export async function checkHalves(device: DeviceName): Promise<void> {
  const { dtypes } = await backendOf(device);
  if (dtypes.includes("f16")) return;
  const why =
    device === "webgpu" ? "this adapter of webgpu has no f16 (the feature shader-f16)" : `${device} has no f16`;
  throw new DeviceError(`train: the precision f16 needs a device that has it, but ${why}; take f32, webgpu or cpu`);
}

/** The parameters in f16, but for those that are to stay as they are. */
export function inHalves<P>(params: P, keepsF32: (path: string) => boolean = () => false): P {
  const [leaves, structure] = treeFlatten(params);
  const paths = treePaths(params);
  const cast = leaves.map((x, i) => (isFloat(x.dtype) && !keepsF32(paths[i]) ? x.cast("f16") : x));
  return treeUnflatten(structure, cast);
}

/** The gradients of a loss that was multiplied by the scale, as if it had not been. */
export function unscaled<G>(grads: G, { scale }: LossScale): G {
  const factor = scale.reciprocal();
  return treeMap((g) => (isFloat(g.dtype) ? g.mul(factor.cast(g.dtype)) : g), grads);
}

/** What a step comes to, found out on the device. */
export interface Verdict {
  /** `bool[]`: whether it is an update. */
  readonly taken: Tensor;
  /** After it. */
  readonly lossScale: LossScale;
}

export function judged(grads: unknown, before: LossScale): Verdict {
  const finite = treeLeaves(grads)
    .filter((g) => isFloat(g.dtype))
    .map((g) => g.isFinite().all())
    .reduce((all, one) => all.and(one));
  // At 1 the scale is not why a gradient overflows: what is not finite is the model's own, and ends the run as it does in f32.
  const taken = finite.or(before.scale.le(1));
  const good = where(finite, before.good.add(1), 0);
  const isLong = good.ge(patience);
  const scale = where(finite, where(isLong, before.scale.mul(2), before.scale), before.scale.mul(0.5)).clip(1, most);
  return { taken, lossScale: { scale, good: where(isLong, 0, good) } };
}

/** The tensors after a step if it is taken, else those before it, bit for bit. */
export const ifTaken = <T>(taken: Tensor, after: T, before: T): T =>
  treeMap((now, was) => (now === was ? now : where(taken, now, was)), after, before);
