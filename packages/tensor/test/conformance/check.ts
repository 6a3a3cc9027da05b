import fc from "fast-check";
import { arange, realize, type DeviceName, type Tensor, type TypedArray } from "../../src/index.ts";
import { supports } from "../../src/types.ts";
import { run, type Case } from "./cases.ts";

const eps = { f32: 2 ** -23, f64: 2 ** -52 };

/** The first element that is further off than a case allows, in words. */
function mismatch(got: TypedArray, wanted: TypedArray, dtype: string, { ulps, scale = 0 }: Case): string | undefined {
  if (got.length !== wanted.length) return `${got.length} elements, not ${wanted.length}`;
  for (let i = 0; i < wanted.length; i++) {
    const [g, w] = [got[i], wanted[i]];
    if (Object.is(g, w) || g === w) continue;
    const unit = dtype === "f32" ? eps.f32 : dtype === "f64" ? eps.f64 : 0;
    const tiny = dtype === "f32" ? 2 ** -126 : 2 ** -1022;
    if (Math.abs(g - w) <= unit * (ulps * Math.max(Math.abs(w), tiny) + scale)) continue;
    return `element ${i} is ${g}, not ${w}`;
  }
  return undefined;
}

/**
 * Runs a case on a device and on the reference. Plain JavaScript, since it runs in pages too.
 *
 * @throws an error that names the first element that is too far off.
 */
export async function check(one: Case, device: DeviceName, shared: boolean): Promise<void> {
  const wanted = run(one, "cpu");
  fc.pre([...one.inputs, wanted].every(({ dtype }) => supports(device, dtype)));
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
