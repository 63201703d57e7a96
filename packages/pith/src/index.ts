// pith as a library: what the command line does, as functions.
export { doctor } from './doctor/doctor.ts';
export type { DoctorCheck, DoctorReport } from './doctor/doctor.ts';
export { evaluate } from './evaluate/evaluate.ts';
export type { EvaluatedText, EvaluateOptions, Evaluation, MeasuredProtocol } from './evaluate/evaluate.ts';
export { exportModel, planExport } from './export/export-model.ts';
export type { ExportModelOptions, ExportPlanOptions, ExportResult } from './export/export-model.ts';
export { EXPORT_FORMATS } from './export/formats.ts';
export type { ExportContext, ExportFormat, ExportRequest, PreparedExport, WrittenContent } from './export/format.ts';
export { generate } from './generate/generate.ts';
export type { GenerateOptions, GenerateResult } from './generate/generate.ts';
export { logits } from './generate/logits.ts';
export type { LogitsOptions, LogitsResult } from './generate/logits.ts';
export { inspect } from './inspect/inspect.ts';
export type { InspectedFile, InspectedTensor, Inspection } from './inspect/inspect.ts';
export type { InspectedModel } from './inspect/describe-model.ts';
export type { InspectedOnnx, InspectedOnnxQuantization } from './inspect/inspect-onnx.ts';
export { plan } from './plan/plan.ts';
export type {
  Plan,
  PlannedStage,
  PlannedStep,
  PlannedTensor,
  PlanOptions,
  PlanProblem,
  QuantizeOptions,
} from './plan/types.ts';
export { push } from './push/push.ts';
export type { PushedFile, PushOptions, PushPlan, PushResult } from './push/push.ts';
export { readReceipt, RECEIPT_NAME } from './receipt/receipt.ts';
export { ReceiptSchema } from './receipt/schema.ts';
export type { HubOrigin } from './source/open-source.ts';
export type {
  CalibrationReceipt,
  ComparisonReceipt,
  FileHash,
  HostReceipt,
  Intervention,
  OutputReceipt,
  PerplexityReceipt,
  QualityProtocol,
  QualityReceipt,
  Receipt,
  RunReceipt,
  SampleReceipt,
  SourceReceipt,
  StageReceipt,
  TensorHash,
  TotalsReceipt,
  WeightError,
  WeightReceipt,
} from './receipt/types.ts';
export { compress, planRecipe } from './run/compress.ts';
export type { CompressOptions, RecipeOptions } from './run/compress.ts';
export type { CompressResult, WorstWeight } from './run/run-result.ts';
export { quantize } from './run/quantize.ts';
export type { QuantizeRunOptions } from './run/quantize.ts';
export { distill, factorize, prune } from './run/stage-commands.ts';
export type {
  DistillOptions,
  FactorizeOptions,
  PruneOptions,
  StageRunOptions,
  StudentOptions,
} from './run/stage-commands.ts';
export { defineRecipe, parseRecipe, readRecipe } from './recipe/read-recipe.ts';
export { RecipeSchema } from './recipe/recipe-schema.ts';
export type {
  CalibrationOptions,
  DistillStage,
  EvaluationOptions,
  FactorizeStage,
  Fitted,
  NamedCoding,
  PruneStage,
  QuantizeStage,
  Recipe,
  RecipeBudget,
  RecipeOutput,
  RecipeStage,
  TrainingText,
} from './recipe/types.ts';

export type { ArtefactProblem } from './verify/check-artefact.ts';
export { verify } from './verify/verify.ts';
export type { Verification, VerifyOptions } from './verify/verify.ts';
export { version } from './version.ts';
