/** A task that one network of the experts' size cannot learn and many can: which of 64 linear maps applies depends on where the input lies. */
import { adam, valueAndGrad } from "@switchyard/autograd";
import { random, realize, type Key, type Tensor } from "@switchyard/tensor";
import {
  importance,
  loadMetrics,
  moe,
  samplingFloor,
  type MoeOptions,
  type MoeParams,
  type Routing,
} from "@switchyard/moe";
import type { Measured } from "./experiment.ts";

const [dim, clusters, batch, judged] = [16, 64, 256, 4096];
/** All inputs share this mean. Without one nothing collapses: no expert is everybody's favourite. */
const commonMean = 2;

export interface RegressionOptions<P, R extends Routing> extends Pick<
  MoeOptions<P, R, string>,
  "router" | "losses" | "dispatch"
> {
  readonly experts: number;
  /** The width inside an expert; 16 by default. */
  readonly hidden?: number;
  /** 600 by default. */
  readonly steps?: number;
  /** The parameters after a step, for what no gradient changes. */
  readonly afterStep?: (params: MoeParams<P>, routing: R) => MoeParams<P>;
}

/** What a trained layer is judged by. */
export interface Trained<P> {
  readonly start: MoeParams<P>;
  readonly params: MoeParams<P>;
  readonly measured: Measured;
}

/** Trains a layer from a seed and judges it by fresh inputs: the error without noise, balance as in training. */
export async function trainRegression<P, R extends Routing>(
  options: RegressionOptions<P, R>,
  seed: number,
): Promise<Trained<P>> {
  const { experts, hidden = 16, steps = 600, afterStep, router, losses, dispatch } = options;
  const layer = moe({ dim, hidden, experts, router, losses, dispatch });
  const [taskKey, initKey, dataKey, judgeKey] = random.split(random.key(seed), 4);
  const sample = await clusterTask(taskKey);
  const start = await realize(layer.init(initKey));
  const optimizer = adam({ learningRate: 3e-3 });
  const lossAt = (p: MoeParams<P>, key: Key) => {
    const [inputs, noise] = random.split(key);
    const { x, y } = sample(inputs, batch);
    const { output, balance, routing } = layer.apply(p, x, { train: true, key: noise });
    return { loss: output.sub(y).square().mean().add(balance), routing };
  };
  let [params, state] = [start, optimizer.init(start)];
  for (let step = 0; step < steps; step++) {
    const [{ routing }, grads] = valueAndGrad(lossAt)(params, random.fold(dataKey, step));
    const [stepped, nextState] = optimizer.update(params, grads, state);
    const next = afterStep ? afterStep(stepped, routing) : stepped;
    await realize({ next, nextState }, { donate: step === 0 ? [] : [params, state] });
    [params, state] = [next, nextState];
  }
  const [inputs, noise] = random.split(judgeKey);
  const { x, y } = sample(inputs, judged);
  const error = layer.apply(params, x).output.sub(y).square().mean();
  return { start, params, measured: { error: await error.item(), ...(await balanceOf(layer, params, x, noise)) } };
}

/** Inputs around 64 centres, and the linear map of each centre applied to them: outputs of variance about 1. */
async function clusterTask(key: Key): Promise<(key: Key, count: number) => { x: Tensor; y: Tensor }> {
  const [centreKey, mapKey] = random.split(key);
  const { centres, maps } = await realize({
    centres: random.normal(centreKey, [clusters, dim]).add(commonMean),
    maps: random.normal(mapKey, [clusters, dim, dim]).mul((dim * (1 + commonMean ** 2)) ** -0.5),
  });
  return (sampleKey, count) => {
    const [which, spread] = random.split(sampleKey);
    const cluster = random.randint(which, [count], { max: clusters });
    const x = centres.gather(cluster, 0).add(random.normal(spread, [count, dim]).mul(0.3));
    const y = x.expandDims(1).matmul(maps.gather(cluster, 0)).squeeze(1);
    return { x, y };
  };
}

async function balanceOf<P, R extends Routing>(
  layer: { apply: (p: MoeParams<P>, x: Tensor, options: object) => { routing: R } },
  params: MoeParams<P>,
  x: Tensor,
  key: Key,
): Promise<Measured> {
  const { routing } = layer.apply(params, x, { train: true, key });
  const [tokens, experts] = routing.gates.shape;
  const [byLoad, byWeight] = [loadMetrics(routing.requested), loadMetrics(importance(routing.gates))];
  const k = (await routing.requested.sum().item()) / tokens;
  const read = await Promise.all([
    byWeight.cv.item(),
    byLoad.cv.item(),
    byLoad.maxOverMean.item(),
    byLoad.deadFraction.item(),
    routing.counts.sum().item(),
  ]);
  const [cvImportance, cvLoad, maxOverMean, deadFraction, kept] = read;
  return {
    "CV(importance)": cvImportance,
    "CV(load)": cvLoad,
    "CV by chance": samplingFloor({ tokens, experts, k }),
    "max/mean": maxOverMean,
    dead: deadFraction * experts,
    dropped: 1 - kept / (k * tokens),
  };
}
