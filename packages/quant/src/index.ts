export { defineScheme } from './scheme/define-scheme.ts';
export type { SchemeDefinition } from './scheme/define-scheme.ts';
export { formatScheme } from './scheme/format-scheme.ts';
export { parseScheme, SCHEME_EXAMPLES } from './scheme/parse-scheme.ts';
export { fittingGroupSizes, isQuantizable, resolveScheme } from './scheme/resolve-scheme.ts';
export type { QuantizableDType } from './scheme/resolve-scheme.ts';
export type { ActivationScheme, CodeStorage, FloatWeights, Scheme, WeightScheme } from './scheme/scheme.ts';
export { globalScaleOf } from './rtn/scale.ts';
export {
  DEFAULT_CANDIDATES,
  DEFAULT_NORM,
  DEFAULT_SMALLEST,
  defineRange,
  formatRange,
  parseRange,
} from './range/parse-range.ts';
export type { RangeRuleInput } from './range/parse-range.ts';
export type {
  AbsMaxRange,
  LpRange,
  MinMaxRange,
  MseRange,
  PercentileRange,
  RangeRule,
  RmsRange,
} from './range/range.ts';
export { moduleMatcher } from '@pith/model';
export type { ModuleMatcher } from '@pith/model';
export { fakeQuantize } from './qat/fake-quantize.ts';
export type { FakeQuantization } from './qat/fake-quantize.ts';
export { qatTransform } from './qat/qat-transform.ts';
export type { QatOptions } from './qat/qat-config.ts';
export { dequantize, quantize } from './rtn/quantize.ts';
export type { DenseMatrix, QuantizedMatrix, RoundedMatrix, RowError } from './rtn/quantize.ts';
export { localHost } from '@pith/tensor-core';
export type { KernelHost, KernelRegion } from '@pith/tensor-core';
export { quantizeInto } from './rtn/quantize-into.ts';
export { sharedGlobalScale } from './rtn/shared-magnitude.ts';
export type { PlannedValues } from './rtn/shared-magnitude.ts';
export type { SchemeRule } from './scheme/scheme-rules.ts';
export { quantizeInMemory, quantizeWeight } from './rtn/quantize-weight.ts';
export type {
  QuantizedInMemory,
  QuantizeInMemoryOptions,
  QuantizeWeightOptions,
  QuantizeWeightResult,
} from './rtn/quantize-weight.ts';
export { quantizedPieces } from './rtn/pieces.ts';
export type { Piece, PieceName } from './rtn/pieces.ts';
export { genericTable } from './rtn/generic-table.ts';
export type { GenericTable } from './rtn/generic-table.ts';
export { planRtn } from './rtn/plan-rtn.ts';
export type { ModuleTable } from './rtn/plan-rtn.ts';
export { chooseTypes, isMixed, MIXTURES, mixtureOf } from './ggml/mixtures.ts';
export { mixtureNeedsImportance } from './ggml/mixtures-iq.ts';
export type { ChosenType, Mixture, MixtureModel, MixtureTensor } from './ggml/mixtures.ts';
export { carriesCodes, carryRows } from './ggml/carry-codes.ts';
export type { CarriedRows, CarriedWeight } from './ggml/carry-codes.ts';
export { interleavedRows } from './ggml/row-order.ts';
export type { BlockType } from './ggml/quantize-blocks.ts';
export { GGML_WRITABLE_TYPES, quantizeGgmlRows } from './ggml/quantize-rows.ts';
export { ggmlByteLength, looksAtImportance, needsImportance } from './ggml/ggml-kernel.ts';
export { ggmlGridBytes } from './ggml/grid-bytes.ts';
export { quantizeGgmlInto } from './ggml/quantize-into.ts';
export type {
  GgmlDestination,
  GgmlError,
  GgmlJob,
  GgmlResult,
  GgmlWritableType,
  QuantizeGgmlOptions,
} from './ggml/ggml-types.ts';
export { KV_CACHE_SCHEMES, kvCachePass } from './kv-cache/pass.ts';
export type { KvCacheOptions } from './kv-cache/pass.ts';
export { awqPass } from './awq/pass.ts';
export { awqConfig } from './awq/awq-config.ts';
export type { AwqConfig, AwqOptions } from './awq/awq-config.ts';
export type { ClipGrid } from './awq/clip-search.ts';
export { smoothquantPass } from './smoothquant/pass.ts';
export type { SmoothQuantConfig, SmoothQuantOptions } from './smoothquant/pass.ts';
export { activationQuantization } from './pass/input-scale.ts';
export { rtnPass } from './rtn/pass.ts';
export type { RtnPassOptions } from './rtn/pass.ts';
export type { RoundingOptions } from './pass/pass-options.ts';
export { rtnConfig } from './rtn/rtn-config.ts';
export type {
  ChunkHash,
  FileDestination,
  MemoryDestination,
  PieceDestination,
  PieceDestinations,
  PlannedTensor,
  PlanProblem,
  QuantizationError,
  QuantizeIntoOptions,
  RtnConfig,
  RtnOptions,
  RtnPlan,
  TensorPlan,
  WeightPlan,
  WeightResult,
} from './rtn/rtn-types.ts';
export { roundAwq, roundGptq } from './formats/round-integers.ts';
export type { IntegerCoding } from './formats/round-integers.ts';
export { roundMlx } from './formats/round-mlx.ts';
export { roundMlxMode } from './formats/round-mlx-modes.ts';
export type { MlxMode } from './formats/round-mlx-modes.ts';
export { roundTable } from './formats/round-table.ts';
export { hqqPass } from './hqq/pass.ts';
export type { HqqConfig, HqqOptions } from './hqq/pass.ts';
export { roundHqq } from './hqq/round.ts';
export type { HqqCoding } from './hqq/round.ts';
export { HQQ_SEARCH } from './hqq/solve.ts';
export type { HqqSearch } from './hqq/solve.ts';
export { gptqPass } from './gptq/pass.ts';
export { gptqRounding } from './gptq/gptq-rounding.ts';
export type { ActOrder, GptqConfig, GptqOptions } from './gptq/gptq-config.ts';
