import { GradientError, Tensor, zerosLike } from "@switchyard/tensor";
import { describe, isFloat, sameShape } from "@switchyard/tensor/graph";
import { backward, type Classes, type Seed } from "./backward.ts";
import { leavesAt, treeFlatten, treePaths, treeUnflatten } from "./tree.ts";
import { freshVariables } from "./variables.ts";

/** One class for everything: the plain gradient. */
export const whole: Classes<null> = { beyond: (_, c) => c, arriving: (_x, _consumer, c) => c };

/**
 * The value of `f` and its pullback, which turns a cotangent of the value into cotangents of the primals.
 *
 * @param f synchronous, of trees of tensors; its value is any tree. Tensors it closes over are constants.
 * @returns the pullback takes a tree like the value (where that has integers, anything) and gives a tuple of trees like the
 * primals; it may be called any number of times.
 * @throws {GradientError} for an integer primal, a Promise, or a cotangent that does not fit.
 */
export function vjp<A extends unknown[], O>(
  f: (...primals: A) => O,
  ...primals: A
): [out: O, pullback: (cotangent: O) => A] {
  const variables = freshVariables("vjp", primals);
  const out = rejectPromise("vjp", f(...variables.tree));
  const [outs, structure] = treeFlatten(out);
  const paths = treePaths(out);
  const nodes = outs.map((x) => x.node); // those written now: realizing points a handle at another, without a path, and disposing ends it
  const pullback = (cotangent: O): A => {
    const seeds: Seed<null>[] = [];
    for (const [i, ct] of leavesAt("pullback", structure, cotangent).entries())
      if (isFloat(outs[i].dtype))
        seeds.push({ node: nodes[i], ct: checkLike("cotangent", ct, outs[i], paths[i]), class: null });
    const arrived = backward(seeds, variables.nodes, whole);
    const primalLeaves = treeFlatten(primals)[0];
    return treeUnflatten(
      variables.structure,
      arrived.map((cts, i) => cts.get(null) ?? zerosLike(primalLeaves[i])),
    );
  };
  return [out, pullback];
}

/**
 * The value of `f` and its derivative along tangents: the VJP of the VJP, so there is no second table of rules.
 *
 * @param tangents trees like the primals.
 * @returns the value, and a tree like it with its tangent; zeros where the value is an integer.
 */
export function jvp<A extends unknown[], O>(f: (...primals: A) => O, primals: A, tangents: A): [out: O, outTangent: O] {
  const [out, pullback] = vjp(f, ...primals);
  const [outs, structure] = treeFlatten(out);
  const floats = outs.filter((x) => isFloat(x.dtype));
  const merge = (forFloats: readonly Tensor[], forOther: (x: Tensor) => Tensor): O => {
    let next = 0;
    return treeUnflatten(
      structure,
      outs.map((x) => (isFloat(x.dtype) ? forFloats[next++] : forOther(x))),
    );
  };
  // The pullback is linear, so where its own pullback is taken does not matter.
  const [, pushforward] = vjp((...cts: Tensor[]) => pullback(merge(cts, (x) => x)), ...floats.map(zerosLike));
  const [leaves, primalStructure] = treeFlatten(primals);
  const paths = treePaths(primals);
  const given = leavesAt("jvp", primalStructure, tangents).map((t, i) => checkLike("tangent", t, leaves[i], paths[i]));
  return [out, merge(pushforward(treeUnflatten(primalStructure, given)), zerosLike)];
}

/** A cotangent or tangent, if it has the shape and dtype of what it belongs to. */
function checkLike(kind: "cotangent" | "tangent", given: unknown, like: Tensor, path: string): Tensor {
  if (given instanceof Tensor && sameShape(given.shape, like.shape) && given.dtype === like.dtype) return given;
  const got = given instanceof Tensor ? describe(given) : String(given);
  const op = kind === "cotangent" ? "pullback" : "jvp";
  throw new GradientError(`${op}: the ${kind} of ${describe(like)} at ${path || "the root"} does not fit, got ${got}`);
}

/** @throws {GradientError} for a Promise: what an async function computes later is no part of the graph. */
export function rejectPromise<O>(op: string, out: O): O {
  if (out instanceof Promise)
    throw new GradientError(`${op}: the function is async; make it synchronous and await its inputs before the call`);
  return out;
}
