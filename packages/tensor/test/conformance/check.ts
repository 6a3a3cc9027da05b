import fc from "fast-check";
import {
  arange,
  devices,
  realize,
  type DeviceName,
  type DType,
  type Tensor,
  type TypedArray,
} from "../../src/index.ts";
import { run, type Case } from "./cases.ts";

/** The distance from 1 to the next number and the smallest normal one; integers and bools are exact. */
const resolution: { readonly [D in DType]?: readonly [number, number] } = {
  f16: [2 ** -10, 2 ** -14],
  f32: [2 ** -23, 2 ** -126],
  f64: [2 ** -52, 2 ** -1022],
};

/** The first element that is further off than a case allows, in words. */
function mismatch(got: TypedArray, wanted: TypedArray, dtype: DType, { ulps, scale = 0 }: Case): string | undefined {
  if (got.length !== wanted.length) return `${got.length} elements, not ${wanted.length}`;
  for (let i = 0; i < wanted.length; i++) {
    const [g, w] = [got[i], wanted[i]];
    if (Object.is(g, w) || g === w) continue;
    const [unit, tiny] = resolution[dtype] ?? [0, 0];
    if (Math.abs(g - w) <= unit * (ulps * Math.max(Math.abs(w), tiny) + scale)) continue;
    return `element ${i} is ${g}, not ${w}`;
  }
  return undefined;
}

const known = new Map<DeviceName, Promise<readonly DType[]>>();

/** What a device that has been started computes with: an adapter of `webgpu` may lack f16. */
function dtypesOf(device: DeviceName): Promise<readonly DType[]> {
  const found = known.get(device) ?? devices().then((all) => all.find(({ name }) => name === device)!.dtypes);
  known.set(device, found);
  return found;
}

/**
 * Runs a case on a device and on the reference. Plain JavaScript, since it runs in pages too.
 *
 * @throws an error that names the first element that is too far off.
 */
export async function check(one: Case, device: DeviceName, shared: boolean): Promise<void> {
  const wanted = run(one, "cpu");
  const dtypes = await dtypesOf(device);
  fc.pre([...one.inputs, wanted].every(({ dtype }) => dtypes.includes(dtype)));
  const got = run(one, device);
  if (String(got.shape) !== String(wanted.shape)) throw new Error(`the shape is [${got.shape}], not [${wanted.shape}]`);
  const [data] = await readTogether([got], device, shared);
  const wrong = mismatch(data, await wanted.data(), wanted.dtype, one);
  if (wrong !== undefined) throw new Error(wrong);
}

/**
 * Reads tensors in one plan.
 *
 * @param shared whether something larger is computed along with them: a small plan alone runs on the calling thread of `wasm`, and
 * would never meet its workers.
 */
export async function readTogether(
  tensors: readonly Tensor[],
  device: DeviceName,
  shared: boolean,
): Promise<TypedArray[]> {
  const company = shared
    ? [
        arange(0, 2 ** 15, 1, { dtype: "f32", device })
          .sqrt()
          .add(1)
          .log()
          .sum(),
      ]
    : [];
  await realize([...tensors, ...company]);
  return Promise.all(tensors.map((t) => t.data()));
}
