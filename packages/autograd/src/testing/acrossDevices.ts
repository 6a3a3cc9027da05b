import { DeviceError, realize, type DeviceName, type FloatDType } from "@switchyard/tensor";
import {
  backendOf,
  defaultFloat,
  fromNode,
  isFloat,
  nodeInputs,
  topologicalOrder,
  withDefaults,
  type AnyNode,
} from "@switchyard/tensor/graph";
import { describeOrigin } from "../describeOrigin.ts";
import { treeLeaves, treeMap } from "../tree.ts";
import { describeDifference, difference, identical, type Difference, type Elements } from "./compare.ts";

export interface AcrossDevicesOptions {
  /** The first is the reference for the others. */
  readonly devices?: readonly DeviceName[];
  /** How far floats may lie apart, in units in the last place of the larger of the element and its tensor's root mean square. */
  readonly ulps?: number;
}

/**
 * Runs `f` on several devices and compares all it returns: integers exactly, floats within `ulps`.
 *
 * @param f synchronous, of trees, to a tree; the device is the default inside.
 * @param args moved to each device.
 * @throws {DeviceError} if a listed device does not start, or one differs from the first: naming the first op that does.
 */
export async function acrossDevices<A extends unknown[]>(
  f: (...args: A) => unknown,
  args: A,
  { devices = ["cpu", "wasm"], ulps = 16 }: AcrossDevicesOptions = {},
): Promise<void> {
  await realize(args); // what an argument is made of is not f's work
  const [reference, ...others] = devices;
  const expected = await graphOn(reference, f, args);
  for (const device of others) {
    const got = await graphOn(device, f, args);
    const ends = await firstDifference(got.roots, expected.roots, ulps);
    if (ends === undefined) continue;
    const first = (await firstDifference(got.order, expected.order, ulps)) ?? ends;
    throw new DeviceError(
      `acrossDevices: ${device} differs from ${reference}, first in ${describeOrigin(first.node)}: ${describeDifference(first, first.size)}`,
    );
  }
}

interface Graph {
  readonly roots: readonly AnyNode[];
  /** All nodes on the device, inputs before consumers: the same list on every device. */
  readonly order: readonly AnyNode[];
}

async function graphOn<A extends unknown[]>(device: DeviceName, f: (...args: A) => unknown, args: A): Promise<Graph> {
  await backendOf(device);
  const moved = treeMap((x) => x.to(device), args);
  const out = withDefaults({ device, float: defaultFloat() }, () => f(...moved));
  const roots = treeLeaves(out).map((y) => y.node);
  const leaves = new Set(treeLeaves(moved).map((x) => x.node));
  const order = topologicalOrder(roots, nodeInputs).filter((node) => !leaves.has(node));
  return { roots, order };
}

async function firstDifference(
  got: readonly AnyNode[],
  expected: readonly AnyNode[],
  ulps: number,
): Promise<(Difference & { readonly node: AnyNode; readonly size: number }) | undefined> {
  if (got.length !== expected.length)
    throw new DeviceError(
      `acrossDevices: f wrote ${expected.length} operations on one device and ${got.length} on another; it must not depend on the device`,
    );
  const [left, right] = await Promise.all([elementsOf(got), elementsOf(expected)]);
  for (const [i, node] of got.entries()) {
    const found = difference(left[i], right[i], isFloat(node.dtype) ? within(ulps, right[i]) : identical);
    if (found) return { ...found, node, size: left[i].data.length };
  }
  return undefined;
}

const elementsOf = (nodes: readonly AnyNode[]): Promise<Elements[]> =>
  Promise.all(nodes.map(async ({ dtype, shape }, i) => ({ dtype, shape, data: await fromNode(nodes[i]).data() })));

/** The distance from 1 to the next number, and the smallest normal one. */
const resolution = { f16: [2 ** -10, 2 ** -14], f32: [2 ** -23, 2 ** -126], f64: [2 ** -52, 2 ** -1022] } satisfies {
  [D in FloatDType]: readonly [number, number];
};

function within(ulps: number, { data, dtype }: Elements): (got: number, expected: number) => boolean {
  const [epsilon, smallest] = resolution[dtype as FloatDType];
  const finite = Array.from(data).filter(Number.isFinite);
  const rms = Math.sqrt(finite.reduce((sum, x) => sum + x * x, 0) / Math.max(finite.length, 1));
  return (got, expected) =>
    identical(got, expected) ||
    Math.abs(got - expected) <= ulps * (epsilon * Math.max(Math.abs(expected), rms) + smallest);
}
