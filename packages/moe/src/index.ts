export type { Ailment, Finding } from "./diagnostics/doctor/checks.ts";
export { doctor, type Patient } from "./diagnostics/doctor/doctor.ts";
export { coActivation, expertTokens } from "./diagnostics/expertTables.ts";
export {
  explainRouter,
  type LogitMover,
  type RouterExplanation,
  type RouterMover,
  type RouterPath,
} from "./diagnostics/explainRouter.ts";
export { loadMetrics, type LoadMetrics } from "./diagnostics/loadMetrics.ts";
export {
  simulateExpertParallel,
  type CapacityEffect,
  type ExpertParallel,
  type ExpertParallelOptions,
  type RecordedChoices,
} from "./diagnostics/plan/expertParallel.ts";
export type { LatentAttention, PlanConfig, PlanMoe } from "./diagnostics/plan/config.ts";
export { plan, type Plan, type PlanOptions } from "./diagnostics/plan/plan.ts";
export type { ParameterCount } from "./diagnostics/plan/parameters.ts";
export { presets, type PresetName } from "./diagnostics/plan/presets.ts";
export { recordRouting, replayRouting, type RoutingRecord } from "./diagnostics/recordRouting.ts";
export { samplingFloor, type RoutedSizes } from "./diagnostics/samplingFloor.ts";
export type { CapacityConvention, CapacityOptions, CapacityPriority } from "./dispatch/capacity.ts";
export { combine, dispatch } from "./dispatch/dispatch.ts";
export { withCapacity } from "./dispatch/withCapacity.ts";
export { experts, type Activation, type Experts, type ExpertsOptions, type ExpertsParams } from "./layers/experts.ts";
export { hierarchicalMoe, type HierarchicalMoeOptions } from "./layers/hierarchicalMoe.ts";
export { moe, type Moe, type MoeOptions, type MoeParams, type MoeResult } from "./layers/moe.ts";
export {
  softMoe,
  type SoftMoe,
  type SoftMoeOptions,
  type SoftMoeParams,
  type SoftMoeResult,
} from "./layers/softMoe.ts";
export { upcycle, type UpcycleOptions } from "./layers/upcycle.ts";
export { cvSquared, type CvSquaredOptions } from "./losses/cvSquared.ts";
export { gshardLoss, type GshardLossOptions } from "./losses/gshardLoss.ts";
export { hierarchicalLoad, hierarchicalLoadLoss } from "./losses/hierarchicalLoad.ts";
export { importance, importanceLoss, type ImportanceLossOptions, type ImportanceOptions } from "./losses/importance.ts";
export { load, loadLoss, probInTopK, type LoadLossOptions, type ProbInTopKOptions } from "./losses/load.ts";
export { sequenceBalanceLoss, type SequenceBalanceLossOptions } from "./losses/sequenceBalanceLoss.ts";
export { switchLoss, type Fraction, type SwitchLossOptions } from "./losses/switchLoss.ts";
export { zLoss, type ZLossOptions } from "./losses/zLoss.ts";
export { baseAssignment } from "./routing/baseAssignment.ts";
export { expertChoice, type ExpertChoiceOptions, type ExpertChoiceRouting } from "./routing/expertChoice.ts";
export { forced } from "./routing/forced.ts";
export {
  hierarchicalTopK,
  type HierarchicalRouting,
  type HierarchicalTopKOptions,
  type HierarchicalTopKParams,
} from "./routing/hierarchicalTopK.ts";
export { makeRouting, type RoutingParts } from "./routing/makeRouting.ts";
export { noisyTopK, type NoisyTopKOptions, type NoisyTopKParams } from "./routing/noisyTopK.ts";
export type {
  LogitRouting,
  RouteOptions,
  Router,
  RouterSizes,
  Routing,
  Slots,
  TokenRouting,
} from "./routing/routing.ts";
export type { GateParams } from "./routing/gate.ts";
export { gshardTop2, type GshardTop2Options } from "./routing/gshardTop2.ts";
export { hashRouter, type HashRouterOptions } from "./routing/hashRouter.ts";
export type { ExpertCount } from "./routing/parameterFree.ts";
export { randomRouter, type RandomRouterOptions } from "./routing/randomRouter.ts";
export { sigmoidTopK, type SigmoidTopKOptions, type SigmoidTopKParams } from "./routing/sigmoidTopK.ts";
export { softmaxTopK, type SoftmaxTopKOptions } from "./routing/softmaxTopK.ts";
export { switchTop1, type SwitchTop1Options } from "./routing/switchTop1.ts";
export { updateBias, type UpdateBiasOptions } from "./routing/updateBias.ts";
export type { ByteSource } from "./interop/byteSource.ts";
export { exportHf, type ExportableHf, type ExportHfOptions } from "./interop/hf/exportHf.ts";
export { importHf, importSwitch, type ImportedHf } from "./interop/hf/importHf.ts";
export { decoderConfig as hfConfig, type DecoderSizes, type HfModel, type HfParams } from "./interop/hf/decoder.ts";
export type { HfConfig } from "./interop/hf/config.ts";
export { report, type ReportOptions } from "./report/report.ts";
export type { CloseLook, RouterPart } from "./report/closeLook.ts";
export { loadSafetensors, saveSafetensors, type SaveSafetensorsOptions } from "./interop/safetensors.ts";
export {
  attention,
  type Attention,
  type AttentionCache,
  type AttentionOptions,
  type AttentionParams,
} from "./layers/attention.ts";
export { embedding, type Embedding, type EmbeddingOptions, type EmbeddingParams } from "./layers/embedding.ts";
export {
  feedForward,
  type FeedForward,
  type FeedForwardOptions,
  type FeedForwardParams,
} from "./layers/feedForward.ts";
export { linear, type Linear, type LinearOptions, type LinearParams } from "./layers/linear.ts";
export { lstm, type Lstm, type LstmOptions, type LstmParams, type LstmState } from "./layers/lstm.ts";
export {
  normalization,
  type Normalization,
  type NormalizationOptions,
  type NormalizationParams,
  type NormKind,
} from "./layers/normalization.ts";
export {
  switchTransformer,
  type SequencePair,
  type SwitchTransformer,
  type SwitchTransformerOptions,
  type SwitchTransformerParams,
} from "./models/switchTransformer.ts";
export { generate, generateBatch, type GenerateBatchOptions, type GenerateOptions } from "./models/generate.ts";
export {
  lstmMoe,
  type LstmMoe,
  type LstmMoeCache,
  type LstmMoeLoss,
  type LstmMoeOptions,
  type LstmMoeOutput,
  type LstmMoeParams,
} from "./models/lstmMoe.ts";
export type { SamplingOptions } from "./models/sampling.ts";
export type { LanguageModel, LossOptions, Model } from "./models/model.ts";
export type { BlockParams } from "./models/block.ts";
export {
  transformer,
  type Transformer,
  type TransformerCache,
  type TransformerLoss,
  type TransformerMoeOptions,
  type TransformerOptions,
  type TransformerOutput,
  type TransformerParams,
} from "./models/transformer.ts";
export { randomBatches, successiveBatches, type BatchSizes, type TextBatch } from "./text/batches.ts";
export { corpusOf, decodeText, type Corpus, type CorpusOptions } from "./text/corpus.ts";
export { judgeText, type TextScores } from "./text/judgeText.ts";
export { textEntropies, type TextEntropies } from "./text/entropy.ts";
export { prefetch } from "./data/prefetch.ts";
export { shuffled } from "./data/shuffled.ts";
export { splitTable, tableBatches, type LabeledRows, type TableBatchOptions } from "./data/tableBatches.ts";
export { loadTokenizer, type HfTokenizer } from "./interop/hf/tokenizer.ts";
export { openTokens, splitTokens, textBlocks, tokenBatches, writeTokens, type Tokens } from "./text/tokenFile.ts";
export {
  byteTokenizer,
  characterTokenizer,
  vocabularyOf,
  type CharacterTokenizer,
  type Tokenizer,
} from "./text/tokenizer.ts";
export { decodePieces } from "./text/decodePieces.ts";
export { loadCheckpoint, saveCheckpoint } from "./training/checkpoint.ts";
export { evaluate, type EvaluateOptions, type Evaluation } from "./training/evaluate.ts";
export { train, type Report, type Run } from "./training/train.ts";
export type { TrainOptions } from "./training/trainOptions.ts";
export type { Precision } from "./training/lossScale.ts";
