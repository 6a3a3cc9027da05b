import type { Allocation, Backend } from "../backend/backend.ts";
import { DeviceError } from "../errors.ts";
import { makeNode, opName, topologicalOrder, type AnyNode } from "../node.ts";
import { debugging } from "../provenance.ts";
import { describe, sizeOf } from "../shape.ts";
import { hostArrayFrom, type DeviceName, type TypedArray } from "../types.ts";
import { indexChecks, warnOfRepeats, type Check } from "./debug.ts";
import { backendOf } from "./devices.ts";
import { leafStorage, nodeInputs, valueNode } from "./leaves.ts";
import { provokeCollection, underPressure } from "./memory.ts";
import { Storage } from "./storage.ts";

/** One result of a request: a node to compute into a storage that its handles already point to. */
interface Target {
  readonly node: AnyNode;
  readonly storage: Storage;
}

interface Request {
  readonly targets: readonly Target[];
  readonly leaves: readonly Storage[];
  readonly transfers: readonly AnyNode[];
  readonly donated: readonly Storage[];
  readonly settle: { resolve: () => void; reject: (error: unknown) => void };
}

interface Queue {
  readonly device: DeviceName;
  pending: Request[];
  /** Submissions so far, in order. Not their completion: the next graph is planned while the device works. */
  tail: Promise<void>;
  /** The last run's completion. */
  running: Promise<void>;
}

const queues = new Map<DeviceName, Queue>();

/** Nodes of one device to be computed, and what they need. */
export interface Work {
  readonly nodes: readonly AnyNode[];
  readonly order: readonly AnyNode[];
  readonly leaves: readonly Storage[];
  readonly transfers: readonly AnyNode[];
}

/** @throws {DisposedError} if a node needs elements that are gone. */
export function workOf(nodes: readonly AnyNode[]): Work {
  const order = topologicalOrder(nodes, nodeInputs);
  const leaves = new Set<Storage>();
  const transfers: AnyNode[] = [];
  for (const node of order) {
    const storage = leafStorage(node);
    if (storage) {
      const by = consumerOf(node, nodes);
      storage.assertLive(opName(by), by.provenance.line);
      leaves.add(storage);
    } else if (node.op === "transfer") transfers.push(node);
  }
  return { nodes, order, leaves: [...leaves], transfers };
}

/**
 * Asks for work to be done, together with everything else asked for in this turn of the event loop. Storage for the results
 * exists, in flight, when this returns.
 *
 * @param donated storages that nothing needs after this.
 */
export function submit(
  { nodes, order, leaves, transfers }: Work,
  donated: readonly Storage[],
): { storages: Storage[]; done: Promise<void> } {
  const { device } = nodes[0];
  const checks = debugging() ? indexChecks(order) : [];
  if (debugging()) warnOfRepeats(order);
  const targets = [...nodes, ...checks.map((check) => check.node)].map((node) => ({
    node,
    storage: new Storage(device, node.shape, node.dtype, { op: opName(node), ...node.provenance }),
  }));
  const { promise, resolve, reject } = withResolvers();
  const storages = targets.slice(0, nodes.length).map((t) => t.storage);
  const answers = targets.slice(nodes.length).map((t) => t.storage);
  const done = checks.length === 0 ? promise : promise.then(() => answer(checks, answers));
  done.catch(() => {});
  for (const leaf of leaves) leaf.pin();
  for (const { storage } of targets) {
    storage.pin();
    storage.ready = promise;
  }
  for (const storage of storages) storage.ready = done;
  submitWhenReady(device, { targets, leaves, transfers, donated, settle: { resolve, reject } });
  return { storages, done };
}

/** @throws the error of the first check that holds. */
async function answer(checks: readonly Check[], answers: readonly Storage[]): Promise<void> {
  const read = await Promise.all(answers.map(readStorage));
  for (const storage of answers) storage.end("disposed");
  const wrong = read.findIndex(([bad]) => bad);
  if (wrong >= 0) throw checks[wrong].error();
}

/** Some node that reads `leaf`, to name in an error. */
function consumerOf(leaf: AnyNode, roots: readonly AnyNode[]): AnyNode {
  if (!leafStorage(leaf)!.isGone) return leaf;
  const reads = (node: AnyNode): boolean => valueNode(node) !== leaf && node.inputs.some((x) => valueNode(x) === leaf);
  return topologicalOrder(roots, nodeInputs).find(reads) ?? leaf;
}

/**
 * Puts a request in its device's queue: at once, or, if it reads what comes from another device, when that has arrived. It
 * must not wait in the queue, where work that it waits for may come after it.
 */
function submitWhenReady(device: DeviceName, request: Request): void {
  const waits = [...request.transfers.map(arrive), ...request.leaves.flatMap((leaf) => leaf.delayed ?? [])];
  if (waits.length === 0) return enqueue(device, request);
  const delayed = Promise.all(waits).then(
    () => enqueue(device, request),
    (error) => refuse([request], error),
  );
  for (const { storage } of request.targets) storage.delayed = delayed;
}

function enqueue(device: DeviceName, request: Request): void {
  let queue = queues.get(device);
  if (!queue) {
    queue = { device, pending: [], tail: Promise.resolve(), running: Promise.resolve() };
    queues.set(device, queue);
  }
  queue.pending.push(request);
  if (queue.pending.length > 1) return;
  const mine = queue;
  queue.tail = queue.tail.then(async () => {
    for (const requests of independent(mine.pending.splice(0))) await flush(mine, requests);
  });
}

/** Requests that run together: one that reads what an earlier one of its turn computes starts the next run. */
function independent(requests: readonly Request[]): Request[][] {
  const runs: Request[][] = [];
  let made = new Set<Storage>();
  for (const request of requests) {
    if (runs.length === 0 || request.leaves.some((leaf) => made.has(leaf))) {
      runs.push([]);
      made = new Set();
    }
    runs[runs.length - 1].push(request);
    for (const { storage } of request.targets) made.add(storage);
  }
  return runs;
}

/**
 * Turns requests into one run. If that cannot be, each runs alone, so that none fails for another's sake; and if the reason is
 * the device's, only once it is idle and what died has been collected, so that there is as much room as there can be.
 */
async function flush(queue: Queue, requests: readonly Request[]): Promise<void> {
  try {
    const backend = await backendOf(queue.device);
    if (underPressure(queue.device)) await provokeCollection(queue.device);
    try {
      start(queue, backend, requests);
    } catch (error) {
      if (error instanceof DeviceError) {
        await queue.running;
        await provokeCollection(queue.device);
      } else if (requests.length === 1) throw error;
      for (const request of requests) startOrRefuse(queue, backend, request);
    }
  } catch (error) {
    refuse(requests, error);
  }
}

function startOrRefuse(queue: Queue, backend: Backend, request: Request): void {
  try {
    start(queue, backend, [request]);
  } catch (error) {
    refuse([request], error);
  }
}

/** @throws what keeps the requests from running; then nothing has changed. */
function start(queue: Queue, backend: Backend, requests: readonly Request[]): void {
  for (const { leaves, transfers } of requests) {
    for (const leaf of leaves) place(leaf, backend);
    for (const node of transfers) place(leafStorage(node)!, backend);
  }
  queue.running = run(backend, requests).then(
    () => requests.forEach((request) => request.settle.resolve()),
    (error) => fail(requests, error),
  );
  unpin(requests);
}

/** Ends requests that have not run. */
function refuse(requests: readonly Request[], error: unknown): void {
  fail(requests, error);
  unpin(requests);
}

function run(backend: Backend, requests: readonly Request[]): Promise<void> {
  const targets = requests.flatMap((r) => r.targets);
  const donated = donatedBy(requests);
  const { allocations, done } = backend.run({ roots: targets.map((t) => t.node), donated });
  const inPlace = new Set(allocations);
  for (const storage of donated) if (storage.allocation && inPlace.has(storage.allocation)) storage.detach();
  targets.forEach(({ storage }, i) => storage.attach(allocations[i], backend));
  return done;
}

/** The storages that nothing but these requests needs: one that a read still waits for must keep its elements. */
function donatedBy(requests: readonly Request[]): Set<Storage> {
  const pins = new Map<Storage, number>();
  for (const leaf of requests.flatMap((r) => r.leaves)) pins.set(leaf, (pins.get(leaf) ?? 0) + 1);
  return new Set(requests.flatMap((r) => r.donated).filter((storage) => storage.pins === (pins.get(storage) ?? 0)));
}

function unpin(requests: readonly Request[]): void {
  for (const { leaves, targets } of requests) {
    for (const leaf of leaves) leaf.unpin();
    for (const { storage } of targets) storage.unpin();
  }
}

function fail(requests: readonly Request[], error: unknown): void {
  for (const { targets, settle } of requests) {
    for (const { storage } of targets) storage.fail(error);
    settle.reject(error);
  }
}

/** Puts a leaf's elements on the device. @throws what kept them from being computed, or from being there still. */
function place(leaf: Storage, backend: Backend): void {
  if (leaf.failure) throw leaf.failure;
  if (leaf.host) leaf.attach(upload(leaf, leaf.host, backend), backend);
  else leaf.allocationOn(backend);
}

/** @throws {DeviceError} that names what made the elements, if they do not fit. */
function upload({ dtype, shape, owner }: Storage, data: TypedArray, backend: Backend): Allocation {
  try {
    return backend.upload(data, dtype);
  } catch (cause) {
    if (!(cause instanceof DeviceError)) throw cause;
    const where = owner.line ? ` at ${owner.line}` : "";
    throw new DeviceError(`${owner.op} ${describe({ dtype, shape })}${where}: ${cause.message}`, { cause });
  }
}

/** Brings a tensor over from another device, once. */
async function arrive(node: AnyNode): Promise<void> {
  if (node.op !== "transfer" || node.attrs.arrived.leaf) return;
  const data = await readNode(node.inputs[0]);
  node.attrs.arrived.leaf ??= hostLeaf(node.device, node.shape, data, node.dtype, "to");
}

/** A leaf over elements on the host; they move to the device with the first work that needs them. */
export function hostLeaf(
  device: DeviceName,
  shape: readonly number[],
  data: TypedArray,
  dtype: AnyNode["dtype"],
  op: string,
): AnyNode {
  const storage = new Storage(device, shape, dtype, { op, scope: "" });
  storage.host = data;
  return bufferNode(storage);
}

/** A leaf over a storage. */
export const bufferNode = (storage: Storage): AnyNode =>
  makeNode("buffer", [], { shape: storage.shape, dtype: storage.dtype, storage }, storage.device);

/** A node's elements on the host, computing them if need be. */
export async function readNode(node: AnyNode): Promise<TypedArray> {
  const storage = leafStorage(valueNode(node));
  if (storage) return readStorage(storage);
  const { storages } = submit(workOf([node]), []);
  try {
    return await readStorage(storages[0]);
  } finally {
    storages[0].end("disposed");
  }
}

async function readStorage(storage: Storage): Promise<TypedArray> {
  storage.assertLive("data");
  storage.pin();
  try {
    await storage.ready;
    if (storage.host) return hostArrayFrom(storage.dtype, storage.host);
    const backend = await backendOf(storage.device);
    return await backend.read(storage.allocationOn(backend), storage.dtype, sizeOf(storage.shape));
  } finally {
    storage.unpin();
  }
}

function withResolvers(): { promise: Promise<void>; resolve: () => void; reject: (error: unknown) => void } {
  let resolve!: () => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<void>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  // Whoever awaits the promise sees the error; a handle nobody reads must not end the process.
  promise.catch(() => {});
  return { promise, resolve, reject };
}
