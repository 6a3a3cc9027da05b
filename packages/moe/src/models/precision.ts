import type { Tensor } from "@switchyard/tensor";

/**
 * Whether a parameter stays f32 where a model trains in f16: those of routers, whose choices jump with the last digits of their logits (Fedus et
 * al. 2021, section 2.4), and of norms, whose squares overflow.
 *
 * @param path such as `layers.0.moe.router.gate`.
 */
export const keepsF32 = (path: string): boolean => /(^|\.)(router|norm|\w+Norm)\./.test(path);

/** What is summed, or has an exponential, wants more digits than f16 has: `x` in f32 if it is f16. */
export const wide = (x: Tensor): Tensor => (x.dtype === "f16" ? x.cast("f32") : x);
