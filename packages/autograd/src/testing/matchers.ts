import { DeviceError, tensor, Tensor, type DeviceName, type TensorData } from "@switchyard/tensor";
import {
  collection,
  describe,
  leafStorage,
  ledgerOf,
  nodeInputs,
  sameShape,
  topologicalOrder,
  type Owner,
} from "@switchyard/tensor/graph";
import { treeLeaves } from "../tree.ts";
import { describeDifference, difference, identical, type Elements } from "./compare.ts";

interface MatchResult {
  readonly pass: boolean;
  readonly message: () => string;
}

/** A tensor, or what `tensor` makes one of; then the dtype is that of what was received. */
type Expected = Tensor | TensorData;

export interface Closeness {
  readonly rtol?: number;
  readonly atol?: number;
}

const elementsOf = async (x: Tensor): Promise<Elements> => ({ dtype: x.dtype, shape: x.shape, data: await x.data() });

async function compare(
  matcher: string,
  received: unknown,
  expected: Expected,
  same: (got: number, expected: number) => boolean,
): Promise<MatchResult> {
  if (!(received instanceof Tensor)) return verdict(false, `${matcher}: expected a tensor, got ${String(received)}`);
  const wanted = expected instanceof Tensor ? expected : tensor(expected, { dtype: received.dtype });
  if (!sameShape(received.shape, wanted.shape) || received.dtype !== wanted.dtype)
    return verdict(false, `${matcher}: expected ${describe(wanted)}, got ${describe(received)}`);
  const found = difference(await elementsOf(received), await elementsOf(wanted), same);
  return found === undefined
    ? verdict(true, `${matcher}: expected ${describe(wanted)} to differ, and every element agrees`)
    : verdict(false, `${matcher}: ${describeDifference(found, received.size)}`);
}

const verdict = (pass: boolean, message: string): MatchResult => ({ pass, message: () => message });

const devices: readonly DeviceName[] = ["cpu", "wasm", "webgpu"];

/** What is alive on any device, by allocation, with who made it. */
const alive = (): Map<object, Owner> => new Map(devices.flatMap((device) => [...ledgerOf(device).owners]));

/** Storages made since node `since` that a tree needs. */
function heldBy(tree: unknown, since: number): number {
  const nodes = topologicalOrder(
    treeLeaves(tree).map((t) => t.node),
    nodeInputs,
  );
  return new Set(nodes.filter((node) => node.id > since).flatMap((node) => leafStorage(node) ?? [])).size;
}

const nameOf = ({ op, scope, line }: Owner): string =>
  [op, scope && `in ${scope}`, line && `at ${line}`].filter(Boolean).join(" ");

/** One frees what was out of reach before it; another, what work under way or a finalizer still held. */
const mostCollections = 3;

/** For `expect.extend`. All are asynchronous: `await expect(x).toEqualTensor(y)`. */
export const matchers = {
  /** The same shape, dtype and elements; NaN equals NaN, and -0 equals 0. */
  toEqualTensor: (received: unknown, expected: Expected): Promise<MatchResult> =>
    compare("toEqualTensor", received, expected, identical),

  /** The same shape and dtype, and elements within `atol + rtol |expected|`. */
  toBeCloseToTensor: (
    received: unknown,
    expected: Expected,
    { rtol = 1e-5, atol = 1e-6 }: Closeness = {},
  ): Promise<MatchResult> =>
    compare(
      "toBeCloseToTensor",
      received,
      expected,
      (got, wanted) => identical(got, wanted) || Math.abs(got - wanted) <= atol + rtol * Math.abs(wanted),
    ),

  /** A function, after whose end and a collection no tensor made inside is alive but what it returned. */
  async toHaveNoLeaks(received: unknown): Promise<MatchResult> {
    if (typeof received !== "function") return verdict(false, "toHaveNoLeaks: expected a function to run");
    const before = alive();
    const since = tensor(0, { device: "cpu" }).node.id;
    const result: unknown = await (received as () => unknown)();
    const kept = heldBy(result, since);
    const leaked = (): Owner[] => [...alive()].filter(([cell]) => !before.has(cell)).map(([, owner]) => owner);
    for (let i = 0; i < mostCollections && leaked().length > kept; i++)
      if (!(await collection()))
        throw new DeviceError("toHaveNoLeaks: this engine did not collect, so nothing is known; run it in Node");
    const owners = leaked();
    return owners.length > kept
      ? verdict(false, `toHaveNoLeaks: ${owners.length - kept} tensors leaked, among ${owners.map(nameOf).join(", ")}`)
      : verdict(true, "toHaveNoLeaks: expected a leak, and nothing made inside is alive");
  },
};

/**
 * The types of `matchers`, to merge into vitest's:
 * `declare module "vitest" { interface Matchers<R extends void | Promise<void>, T> extends TensorMatchers {} }`.
 */
export interface TensorMatchers {
  toEqualTensor(expected: Expected): Promise<void>;
  toBeCloseToTensor(expected: Expected, closeness?: Closeness): Promise<void>;
  toHaveNoLeaks(): Promise<void>;
}
