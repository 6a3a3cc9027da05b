import { ConfigError } from "@switchyard/tensor";
import { flag, nonNegative, positiveInteger, positiveNumber } from "@switchyard/tensor/graph";
import { transformer, type Transformer, type TransformerParams } from "../../models/transformer.ts";
import type { LogitRouting } from "../../routing/routing.ts";
import type { GateParams } from "../../routing/gate.ts";
import { softmaxTopK } from "../../routing/softmaxTopK.ts";
import type { Binding } from "./bindings.ts";
import { configReader, type HfConfig } from "./config.ts";

export type HfModel = Transformer<GateParams, LogitRouting>;
export type HfParams = TransformerParams<GateParams>;

/** What a decoder-only model of experts is, in our words. */
export interface DecoderSizes {
  readonly vocab: number;
  readonly dim: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  /** Inside an expert. */
  readonly hidden: number;
  readonly context: number;
  readonly experts: number;
  readonly k: number;
  /** Whether the k weights are made to add up to 1. */
  readonly renormalize: boolean;
  readonly rope: number;
  readonly normEps: number;
  readonly tie: boolean;
}

/** What tells one family of decoders from another. */
interface Family {
  readonly architecture: string;
  /** Whether attention normalizes queries and keys. */
  readonly qkNorm: boolean;
  /** What is 1e6 in one and 1e4 in the other, if the file does not say. */
  readonly rope: number;
  readonly expertCount: string;
  /** Its own fields, which `read` understands. */
  readonly fields: (sizes: DecoderSizes) => { readonly [name: string]: unknown };
  readonly renormalize: (config: HfConfig, source: string) => boolean;
  /** What a mixture's tensors are called, below `model.layers.<i>.`. */
  readonly gate: string;
  readonly expert: (index: number, matrix: "w1" | "w2" | "w3") => string;
}

const olmoeMatrices = { w1: "gate_proj", w2: "down_proj", w3: "up_proj" };

/** Jiang et al. 2024, "Mixtral of Experts"; Muennighoff et al. 2024, "OLMoE". Names and fields are those of transformers. */
export const families = {
  mixtral: {
    architecture: "MixtralForCausalLM",
    qkNorm: false,
    rope: 1e6,
    expertCount: "num_local_experts",
    fields: () => ({ sliding_window: null }),
    renormalize: () => true,
    gate: "block_sparse_moe.gate.weight",
    expert: (e, matrix) => `block_sparse_moe.experts.${e}.${matrix}.weight`,
  },
  olmoe: {
    architecture: "OlmoeForCausalLM",
    qkNorm: true,
    rope: 1e4,
    expertCount: "num_experts",
    fields: ({ renormalize }) => ({ norm_topk_prob: renormalize, attention_bias: false, clip_qkv: null }),
    renormalize: (config, source) => configReader(config, source).get("norm_topk_prob", flag, false),
    gate: "mlp.gate.weight",
    expert: (e, matrix) => `mlp.experts.${e}.${olmoeMatrices[matrix]}.weight`,
  },
} satisfies { readonly [modelType: string]: Family };

export type FamilyName = keyof typeof families;
const isFamily = (name: string): name is FamilyName => Object.hasOwn(families, name);

/** The family of a config. @throws {ConfigError} if it is none that is built here. */
export function familyOf({ model_type: name }: HfConfig, source: string): FamilyName {
  if (isFamily(name)) return name;
  throw new ConfigError(
    `${source}: the model_type "${name}" is not built here; ${Object.keys(families).join(", ")} are, and switch_transformers by importSwitch`,
  );
}

/** @throws {FormatError} for a field that is missing, wrong, or means something that is not built here. */
export function sizesOf(config: HfConfig, source: string): DecoderSizes {
  const name = familyOf(config, source);
  const family: Family = families[name];
  const { get, mustBe } = configReader(config, source);
  const size = (field: string, otherwise?: number): number => get(field, positiveInteger, otherwise);
  const [dim, heads] = [size("hidden_size"), size("num_attention_heads")];
  mustBe("hidden_act", "silu");
  mustBe("head_dim", dim / heads);
  mustBe("attention_bias", false);
  mustBe("clip_qkv");
  mustBe("rope_scaling");
  const context = size("max_position_embeddings");
  const window = config.sliding_window as number | null | undefined;
  if (window != null && window < context) mustBe("sliding_window"); // a window of all is none
  const rope = config.rope_parameters as { rope_type?: unknown; rope_theta?: unknown } | undefined;
  if (rope?.rope_type !== undefined) configReader({ ...config, ...rope }, source).mustBe("rope_type", "default");
  return {
    vocab: size("vocab_size"),
    dim,
    layers: size("num_hidden_layers"),
    heads,
    kvHeads: size("num_key_value_heads", heads),
    hidden: size("intermediate_size"),
    context,
    experts: size(family.expertCount),
    k: size("num_experts_per_tok"),
    renormalize: family.renormalize(config, source),
    // Before transformers 5 the base stood by itself.
    rope: configReader({ rope_theta: rope?.rope_theta, ...config }, source).get(
      "rope_theta",
      positiveNumber,
      family.rope,
    ),
    normEps: get("rms_norm_eps", nonNegative, 1e-5),
    tie: get("tie_word_embeddings", flag, false),
  };
}

/** The config of a model, with which transformers makes the same. */
export function decoderConfig(name: FamilyName, sizes: DecoderSizes): HfConfig {
  const family: Family = families[name];
  return {
    model_type: name,
    architectures: [family.architecture],
    vocab_size: sizes.vocab,
    hidden_size: sizes.dim,
    num_hidden_layers: sizes.layers,
    num_attention_heads: sizes.heads,
    num_key_value_heads: sizes.kvHeads,
    intermediate_size: sizes.hidden,
    max_position_embeddings: sizes.context,
    [family.expertCount]: sizes.experts,
    num_experts_per_tok: sizes.k,
    hidden_act: "silu",
    rms_norm_eps: sizes.normEps,
    // Both ways, for readers before and after transformers 5.
    rope_theta: sizes.rope,
    rope_parameters: { rope_theta: sizes.rope, rope_type: "default" },
    tie_word_embeddings: sizes.tie,
    bos_token_id: null,
    eos_token_id: null,
    pad_token_id: null,
    ...family.fields(sizes),
  };
}

export const decoderOf = (name: FamilyName, sizes: DecoderSizes): HfModel => {
  const { experts, k, renormalize, ...rest } = sizes;
  return transformer({
    ...rest,
    activation: "swiglu",
    norm: "rms",
    qkNorm: families[name].qkNorm,
    moe: { experts, router: softmaxTopK({ k, renormalize }), bias: false },
  });
};

/** Where each of our tensors lies in a file. */
export function decoderBindings(name: FamilyName, sizes: DecoderSizes): Binding[] {
  const { vocab, dim, layers, tie } = sizes;
  return [
    { path: "embedding.table", as: "same", name: "model.embed_tokens.weight", shape: [vocab, dim] },
    ...Array.from({ length: layers }, (_, i) => layerBindings(families[name], sizes, i)).flat(),
    { path: "norm.scale", as: "same", name: "model.norm.weight", shape: [dim] },
    ...(tie ? [] : [matrix("head.weight", ["lm_head.weight"], dim, [vocab])]),
  ];
}

const matrix = (path: string, names: readonly string[], rows: number, columns: readonly number[]): Binding => ({
  path,
  as: "columns",
  names,
  rows,
  columns,
});

function layerBindings(family: Family, { dim, heads, kvHeads, hidden, experts }: DecoderSizes, i: number): Binding[] {
  const [path, name] = [`layers.${i}`, `model.layers.${i}`];
  const keys = kvHeads * (dim / heads);
  const scale = (ours: string, theirs: string, width: number): Binding => ({
    path: `${path}.${ours}.scale`,
    as: "same",
    name: `${name}.${theirs}.weight`,
    shape: [width],
  });
  const projection = (letter: string): string => `${name}.self_attn.${letter}_proj.weight`;
  const stack = (which: "w1" | "w2" | "w3", rows: number, columns: number): Binding => ({
    path: `${path}.moe.experts.${which}`,
    as: "stack",
    names: Array.from({ length: experts }, (_, e) => `${name}.${family.expert(e, which)}`),
    rows,
    columns,
  });
  return [
    scale("attentionNorm", "input_layernorm", dim),
    matrix(`${path}.attention.qkv`, ["q", "k", "v"].map(projection), dim, [dim, keys, keys]),
    matrix(`${path}.attention.out`, [projection("o")], dim, [dim]),
    ...(family.qkNorm
      ? [scale("attention.queryNorm", "self_attn.q_norm", dim), scale("attention.keyNorm", "self_attn.k_norm", keys)]
      : []),
    scale("norm", "post_attention_layernorm", dim),
    matrix(`${path}.moe.router.gate`, [`${name}.${family.gate}`], dim, [experts]),
    stack("w1", dim, hidden),
    stack("w2", hidden, dim),
    stack("w3", dim, hidden),
  ];
}
