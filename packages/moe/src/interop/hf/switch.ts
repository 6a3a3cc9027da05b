import { fraction, flag, nonNegative, positiveInteger, wholeNumber } from "@switchyard/tensor/graph";
import type { SwitchTransformerOptions } from "../../models/switchTransformer.ts";
import type { Binding } from "./bindings.ts";
import { configReader, type HfConfig } from "./config.ts";

/** Fedus et al. 2021, "Switch Transformers". Names and fields are those of transformers. */
export const switchType = "switch_transformers";

/** @throws {FormatError} for a field that is missing, wrong, or means something that is not built here. */
export function switchSizes(config: HfConfig, source: string): SwitchTransformerOptions {
  const { get, mustBe } = configReader(config, source);
  const size = (field: string): number => get(field, positiveInteger);
  mustBe("dense_act_fn", "relu");
  mustBe("router_bias", false);
  mustBe("router_ignore_padding_tokens", false);
  const [encoderLayers, decoderLayers] = [
    size("num_layers"),
    get("num_decoder_layers", positiveInteger, size("num_layers")),
  ];
  const every = (layers: number, field: string): number => {
    const sparse = get<number>(field, wholeNumber, 0);
    return sparse === 0 ? layers + 1 : Math.floor(layers / sparse); // beyond the last layer: none
  };
  return {
    vocab: size("vocab_size"),
    dim: size("d_model"),
    heads: size("num_heads"),
    headDim: size("d_kv"),
    hidden: size("d_ff"),
    experts: size("num_experts"),
    capacity: size("expert_capacity"),
    encoderLayers,
    decoderLayers,
    encoderSparseEvery: get("encoder_sparse_step", positiveInteger, every(encoderLayers, "num_sparse_encoder_layers")),
    decoderSparseEvery: get("decoder_sparse_step", positiveInteger, every(decoderLayers, "num_sparse_decoder_layers")),
    buckets: get("relative_attention_num_buckets", positiveInteger, 32),
    maxDistance: get("relative_attention_max_distance", positiveInteger, 128),
    normEps: get("layer_norm_epsilon", nonNegative, 1e-6),
    jitter: get("router_jitter_noise", fraction, 0),
    tie: get("tie_word_embeddings", flag, true),
  };
}

/** Where each of our tensors lies in a file. */
export function switchBindings(sizes: SwitchTransformerOptions): Binding[] {
  const { vocab, dim, tie } = sizes;
  return [
    { path: "embedding.table", as: "same", name: "shared.weight", shape: [vocab, dim] },
    ...stackBindings(sizes, "encoder", sizes.encoderLayers, sizes.encoderSparseEvery),
    ...stackBindings(sizes, "decoder", sizes.decoderLayers, sizes.decoderSparseEvery),
    ...(tie ? [] : [matrix("head.weight", "lm_head.weight", dim, vocab)]),
  ];
}

const matrix = (path: string, name: string, rows: number, columns: number): Binding => ({
  path,
  as: "columns",
  names: [name],
  rows,
  columns: [columns],
});

function stackBindings(
  sizes: SwitchTransformerOptions,
  stack: "encoder" | "decoder",
  layers: number,
  every: number,
): Binding[] {
  const { dim, heads, buckets } = sizes;
  const first = `${stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight`;
  return [
    { path: `${stack}.bias.table`, as: "same", name: first, shape: [buckets, heads] },
    ...Array.from({ length: layers }, (_, i) => layerBindings(sizes, stack, i, every === 1 || i % every === 1)).flat(),
    { path: `${stack}.norm.scale`, as: "same", name: `${stack}.final_layer_norm.weight`, shape: [dim] },
  ];
}

function layerBindings(sizes: SwitchTransformerOptions, stack: string, i: number, isSparse: boolean): Binding[] {
  const { dim, heads, headDim, hidden, experts } = sizes;
  const path = `${stack}.layers.${i}`;
  const name = (part: number, of: string): string => `${stack}.block.${i}.layer.${part}.${of}.weight`;
  const width = heads * headDim;
  const scale = (ours: string, part: number): Binding => ({
    path: `${path}.${ours}.scale`,
    as: "same",
    name: name(part, "layer_norm"),
    shape: [dim],
  });
  const attention = (ours: string, part: number, theirs: string): Binding[] => [
    matrix(`${path}.${ours}.query.weight`, name(part, `${theirs}.q`), dim, width),
    matrix(`${path}.${ours}.key.weight`, name(part, `${theirs}.k`), dim, width),
    matrix(`${path}.${ours}.value.weight`, name(part, `${theirs}.v`), dim, width),
    matrix(`${path}.${ours}.out.weight`, name(part, `${theirs}.o`), width, dim),
  ];
  const last = stack === "decoder" ? 2 : 1;
  const stacked = (ours: string, theirs: string, rows: number, columns: number): Binding => ({
    path: `${path}.moe.experts.${ours}`,
    as: "stack",
    names: Array.from({ length: experts }, (_, e) => name(last, `mlp.experts.expert_${e}.${theirs}`)),
    rows,
    columns,
  });
  return [
    scale("attentionNorm", 0),
    ...attention("attention", 0, "SelfAttention"),
    ...(stack === "decoder" ? [scale("crossNorm", 1), ...attention("cross", 1, "EncDecAttention")] : []),
    scale("norm", last),
    ...(isSparse
      ? [
          matrix(`${path}.moe.router.gate`, name(last, "mlp.router.classifier"), dim, experts),
          stacked("w1", "wi", dim, hidden),
          stacked("w2", "wo", hidden, dim),
        ]
      : [
          matrix(`${path}.feedForward.w1`, name(last, "mlp.wi"), dim, hidden),
          matrix(`${path}.feedForward.w2`, name(last, "mlp.wo"), hidden, dim),
        ]),
  ];
}
