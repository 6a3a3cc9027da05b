import { ConfigError } from "@switchyard/tensor";
import { checkOptions, anObject, positiveInteger } from "@switchyard/tensor/graph";
import { fullConfig, isSparse, type FullPlanConfig, type PlanConfig } from "./config.ts";
import { evenChoices } from "./evenChoices.ts";
import { simulateExpertParallel, type ExpertParallel, type RecordedChoices } from "./expertParallel.ts";
import { countParameters, type ParameterCount } from "./parameters.ts";

export interface PlanOptions {
  /** Over how many devices the experts of a layer are spread; by default they are not. */
  readonly devices?: number;
  /** Tokens in a batch that is played on them; 8192 by default, or those of `routing`. */
  readonly tokens?: number;
  /** A recorded routing to play; by default each token draws its experts evenly. See `recordRouting`. */
  readonly routing?: RecordedChoices;
}

export interface Plan {
  readonly parameters: ParameterCount;
  /** Bytes of all parameters, by dtype. */
  readonly bytes: { readonly f32: number; readonly bf16: number; readonly i8: number; readonly i4: number };
  /** Floating-point operations for a token in a full context; a multiply-add counts as two. */
  readonly flops: { readonly forward: number; readonly training: number };
  /** Bytes. */
  readonly memory: {
    /** What an optimizer remembers, in f32. */
    readonly optimizer: { readonly sgd: number; readonly lion: number; readonly adam: number };
    /** Parameters, gradients and Adam's memory, all in f32; activations are not counted. */
    readonly training: number;
    /** Keys and values of one token, in bf16. */
    readonly cachePerToken: number;
  };
  /** Of one layer with a mixture, if there are devices. */
  readonly expertParallel?: ExpertParallel;
  /** Layers with a mixture. */
  readonly sparseLayers: number;
}

/**
 * What a model needs before it is made: parameters held and met by a token, bytes, operations, memory, and, for N devices, what a layer
 * of experts moves and waits for. Plain numbers; no tensor is made.
 *
 * @throws {ConfigError} on a missing, unknown or impossible size; if the devices do not divide the experts, or the routing is one of other experts.
 */
export function plan(config: PlanConfig, options: PlanOptions = {}): Plan {
  checkOptions("plan", options, { devices: positiveInteger, tokens: positiveInteger, routing: anObject });
  const full = fullConfig(config);
  const parameters = countParameters(full);
  const { total } = parameters;
  const forward = 2 * parameters.multiplied + attentionFlops(full);
  const parallel = playedOn(full, options);
  return {
    parameters,
    bytes: { f32: 4 * total, bf16: 2 * total, i8: total, i4: total / 2 },
    flops: { forward, training: 3 * forward },
    memory: {
      optimizer: { sgd: 0, lion: 4 * total, adam: 8 * total },
      training: 16 * total,
      cachePerToken: 2 * cachedNumbers(full),
    },
    ...(parallel && { expertParallel: parallel }),
    sparseLayers: sparseCount(full),
  };
}

const sparseCount = (config: FullPlanConfig): number =>
  [config.layers, config.encoderLayers].reduce(
    (sum, count) => sum + Array.from({ length: count }, (_, i) => isSparse(config, i, count)).filter(Boolean).length,
    0,
  );

/** Scores and weighted sums: a decoder's token sees half the context on average; an encoder's, and what looks across, all of it. */
function attentionFlops({ layers, encoderLayers, context, heads, headDim, latent }: FullPlanConfig): number {
  const widths = latent ? latent.plainDim + latent.ropeDim + latent.valueDim : 2 * headDim;
  const seen = layers * (context / 2) + (encoderLayers > 0 ? (encoderLayers + layers) * context : 0);
  return 2 * seen * heads * widths;
}

/** What all layers keep of a token. */
const cachedNumbers = ({ layers, kvHeads, headDim, latent }: FullPlanConfig): number =>
  layers * (latent ? latent.keyValueRank + latent.ropeDim : 2 * kvHeads * headDim);

function playedOn({ moe, dim }: FullPlanConfig, { devices, tokens, routing }: PlanOptions): ExpertParallel | undefined {
  if (devices === undefined) {
    const idle = tokens !== undefined ? "tokens are" : routing && "a routing is";
    if (idle) throw new ConfigError(`plan: ${idle} played on devices; say on how many with devices`);
    return undefined;
  }
  if (!moe) throw new ConfigError("plan: devices share out experts, and this config has none (moe is null)");
  if (routing && routing.expertCount !== moe.experts)
    throw new ConfigError(
      `plan: the routing is one of ${routing.expertCount} experts but the config has ${moe.experts}`,
    );
  if (routing && tokens !== undefined && tokens !== routing.experts.length)
    throw new ConfigError(
      `plan: the routing is one of ${routing.experts.length} tokens, not ${tokens}; leave tokens out`,
    );
  const choices = routing ?? evenChoices(tokens ?? 8192, moe.experts, moe.k);
  return simulateExpertParallel(choices, { devices, dim, bytesPerNumber: 2 });
}
