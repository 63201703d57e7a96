export type {
  Architecture,
  ArchitectureProgram,
  AttentionInputs,
  BlockOutput,
  BlockSpec,
  ParameterSpec,
  EmbeddingSpec,
  Feed,
  HeadAxis,
  KeptPart,
  LinearInput,
  LinearPart,
  LinearRole,
  LinearSpec,
  NormRole,
  NormSpec,
  PastKeys,
  PositionSpec,
  RowRuns,
  Scope,
} from './architecture/architecture.ts';
export { causalLogits, causalStates, hiddenStates } from './architecture/causal-logits.ts';
export type { AttentionStates, CausalStates, NamedTensors } from './architecture/causal-logits.ts';
export {
  describeArchitecture,
  listLinears,
  supportedModelTypes,
  compressedTensorsNote,
  configMembers,
} from './architecture/registry.ts';
export { blockScope, modelScope } from './architecture/scope.ts';
export type { LinearHook, TensorLookup } from './architecture/scope.ts';
export type {
  Activation,
  AlibiConfig,
  BiasConfig,
  DynamicRopeScaling,
  ExpertConfig,
  LatentAttentionConfig,
  LearnedPositions,
  LinearRopeScaling,
  Llama3RopeScaling,
  LongRopeScaling,
  ModelConfig,
  NoRopeScaling,
  NormConfig,
  PositionKind,
  QueryKeyNormConfig,
  ResidualLayout,
  RopeConfig,
  RopeScaling,
  YarnRopeScaling,
} from './config/model-config.ts';
export { readModelConfig } from './config/read-config.ts';
export { createTokenizer } from './tokenizer/tokenizer.ts';
export type { DecodeOptions, Tokenizer } from './tokenizer/tokenizer.ts';
export { compare } from './evaluate/compare.ts';
export type { CompareOptions, CompareResult } from './evaluate/compare.ts';
export { logits } from './evaluate/logits.ts';
export type { EvaluationCost, EvaluationOptions } from './evaluate/options.ts';
export { perplexity } from './evaluate/perplexity.ts';
export type {
  EvaluationText,
  PerplexityOptions,
  PerplexityResult,
  PlainText,
  TokenText,
} from './evaluate/perplexity.ts';
export { cutWindows, DEFAULT_CONTEXT, describeProtocol, tokensOf } from './evaluate/windows.ts';
export type { EvaluationProtocol, EvaluationWindows, ProtocolName, WindowOptions } from './evaluate/windows.ts';
export type { MemoryPlan } from './run/memory-plan.ts';
export { createModel } from './language-model.ts';
export type { LanguageModel, ModelParts } from './language-model.ts';
export { blockTensors, checkTensors, expectedTensors, tensorDifferences } from './architecture/expected-tensors.ts';
export type { ExpectedTensor, Shaped, TensorDifferences, TensorShapes } from './architecture/expected-tensors.ts';
export { adamw } from './train/adamw.ts';
export type { AdamWOptions } from './train/adamw.ts';
export type { BatchSource } from './train/batch-source.ts';
export { clipFactor, globalNorm } from './train/clip.ts';
export { initialParameters } from './train/initial-parameters.ts';
export type { InitialParametersOptions } from './train/initial-parameters.ts';
export { crossEntropy, nextTokenLoss } from './train/loss.ts';
export type { DetailedLoss, Loss, LossTerms } from './train/loss.ts';
export type { OptimizedParameter, OptimizedResult, Optimizer } from './train/optimizer.ts';
export { cosineSchedule, wsdSchedule } from './train/schedule.ts';
export type { CosineScheduleOptions, Schedule, WsdScheduleOptions } from './train/schedule.ts';
export { softTargetLoss, topTargetLoss } from './train/soft-targets.ts';
export type { Divergence, SoftTargetOptions, TopTargets } from './train/soft-targets.ts';
export type { SpikeRule } from './train/spike.ts';
export { parseTrainable, trainableSchema } from './train/parse-trainable.ts';
export { selectTrained, trainableModel } from './train/trainable.ts';
export type {
  Trainable,
  TrainableModel,
  TrainableOptions,
  TrainAll,
  TrainFactors,
  TrainLora,
  TrainModules,
  TrainNorms,
} from './train/trainable.ts';
export { windowBatches } from './train/window-batches.ts';
export type { WindowBatches, WindowBatchesOptions } from './train/window-batches.ts';
export { tokenWindows } from './train/token-windows.ts';
export type { TokenWindowsOptions } from './train/token-windows.ts';
export { scheduleOf, trainerParts, trainingFields, trainingSchema } from './train/training-config.ts';
export type { TrainingConfig } from './train/training-config.ts';
export { LossCurve } from './train/loss-curve.ts';
export { trainRun } from './train/train-run.ts';
export type { TrainFolder, TrainLog, TrainRunOptions, TrainRunResult } from './train/train-run.ts';
export type { TrainState } from './train/train-state.ts';
export { createTrainer } from './train/trainer.ts';
export type { StepRecord, Trainer, TrainerOptions, TrainOptions } from './train/trainer.ts';
export { quantizesActivations, weightsOnly } from './run/weights-only.ts';
export { keyValueScaleNames, keyValueWeights } from './run/key-value-form.ts';
export type { KeyValueForm, KeyValueQuantization } from './run/key-value-form.ts';
export { embeddings } from './evaluate/embeddings.ts';
export type { EmbeddedTokens, EmbeddingOptions } from './evaluate/embeddings.ts';
export type { LogitOptions } from './evaluate/logits.ts';
export { generate } from './generate/generate.ts';
export type { GeneratedToken, GenerateOptions, GenerateResult } from './generate/generate.ts';
export { calibrationWindows, DEFAULT_CALIBRATION_SAMPLES } from './calibrate/calibration-windows.ts';
export type { CalibrationChoice, CalibrationOptions, CalibrationWindows } from './calibrate/calibration-windows.ts';
export { CALIBRATION_BATCH_TOKENS } from './calibrate/window-batches.ts';
export { collectGradients } from './calibrate/collect-gradients.ts';
export type { GradientOptions, GradientSummary } from './calibrate/collect-gradients.ts';
export { blockInfluences } from './calibrate/block-influence.ts';
export type { BlockInfluence, BlockInfluenceOptions } from './calibrate/block-influence.ts';
export { planCalibrationMemory } from './calibrate/memory-plan.ts';
export type {
  CalibrationMemoryPart,
  CalibrationMemoryPlan,
  CalibrationMemoryRequest,
} from './calibrate/memory-plan.ts';
export { runBlocks } from './calibrate/block-runner.ts';
export type { BlockOutcome, BlockRunOptions } from './calibrate/block-runner.ts';
export { memoryActivations } from './calibrate/activations.ts';
export type { ActivationStore } from './calibrate/activations.ts';
export type {
  BlockPass,
  HeadRanges,
  Intervention,
  KeyValueCoding,
  KeyValueRanges,
  KeyValueResult,
  PassContext,
  Stage,
  StageResult,
} from './calibrate/pass.ts';
export type { InputStatistic, InputStatistics } from './calibrate/statistic.ts';
export type { GradientNeeds, GradientStatistic, WeightGradient } from './calibrate/weight-gradient.ts';
export type { ModelTransform, TransformContext, TransformResult } from './technique/model-transform.ts';
export { configOfLayers, keepLayers, layerMembers, layerNames, withoutNextTokens } from './technique/keep-layers.ts';
export { renamedWeight } from './technique/renamed-weight.ts';
export type { PackedExperts, StorageRules } from './architecture/storage-rules.ts';
export { modelWeights, storageDifferences, storedWeightOf } from './architecture/model-weights.ts';
export { strayModules } from './architecture/stray-modules.ts';
export type { StrayRules } from './architecture/stray-modules.ts';
export { textCheckpoint } from './architecture/text-checkpoint.ts';
export { withTensorNames } from './architecture/unknown-parts.ts';
export { partOfLinear, partRows } from './architecture/part-rows.ts';
export { outerLinears } from './architecture/scope.ts';
export { attentionShapes, attentionTensors } from './architecture/attention-tensors.ts';
export type { AttentionLength } from './architecture/attention-tensors.ts';
export { embeddingTensors, finishTensors, linearTensors, normTensors } from './architecture/expected-tensors.ts';
export { afterPlan, plannedWeight } from './technique/planned-model.ts';
export type {
  PlannedModel,
  PlannedKeyValues,
  PlannedWeight,
  TechniquePlan,
  TechniqueProblem,
  WeightChange,
} from './technique/planned-model.ts';
export { moduleMatcher } from './selection/match-module.ts';
export type { ModuleMatcher } from './selection/match-module.ts';
export { linearSelector, selectLinears } from './selection/select-linears.ts';
export type { LinearPatterns, SelectedLinears } from './selection/select-linears.ts';
export type { ConfigMembers } from './architecture/family.ts';
export { readsGguf } from './gguf/family-of-file.ts';
export { ggufFamily } from './gguf/gguf-family.ts';
export type { GgufFamily, TensorRule } from './gguf/gguf-family.ts';
export { ggufMetadata } from './gguf/gguf-metadata.ts';
export type { GgufNaming } from './gguf/gguf-metadata.ts';
export { ggufName } from './gguf/gguf-name.ts';
export { ggufKeepsWindows } from './gguf/gguf-limits.ts';
export { ggufLeavesOut, ggufTensors, isSingleExpert } from './gguf/gguf-tensors.ts';
export { openGgufFrom } from './gguf/open-gguf-from.ts';
export type { GgufPart, GgufSection, GgufTensorSource } from './gguf/gguf-tensors.ts';
export { ggufTokenizer } from './gguf/gguf-tokenizer.ts';
export type { GgufTokenizerOptions } from './gguf/gguf-tokenizer.ts';
export { buildOnnx } from './onnx/build-onnx.ts';
export type { OnnxOptions, OnnxStoredWeight, StaticInputs } from './onnx/model-tensors.ts';
export type { OnnxPlan } from './onnx/write-program.ts';
export { chooseStorage } from './onnx/matrix-storage.ts';
export type {
  BlockStorage,
  ChannelStorage,
  ChosenStorage,
  FloatStorage,
  MatrixStorage,
  OnnxRound,
  OnnxRounding,
  StorageRequest,
} from './onnx/matrix-storage.ts';
export type { StoredBytes, StoredGroup, StoredTensor } from './onnx/store-matrix.ts';
export { INLINE_BYTES, ONNX_CHUNK_BYTES, placeTensors } from './onnx/place-tensors.ts';
export type { PlaceOptions, TensorPlaces } from './onnx/place-tensors.ts';
export { genaiConfig, TRANSFORMERS_JS_DTYPES, transformersJsConfig } from './onnx/runtime-configs.ts';
export type { TransformersJsDtype, TransformersJsFormat } from './onnx/runtime-configs.ts';
