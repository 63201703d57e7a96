// The public surface. A name that goes, or changes its meaning, is a breaking change; a new one is a feature.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

/** The names that an entry exports; it holds named re-exports and nothing else. */
function exportedNames(entry: string): string[] {
  const text = readFileSync(join(import.meta.dirname, entry), 'utf8').replaceAll(/^\/\/.*$/gm, '');
  const rest = text.replaceAll(/export (type )?\{([^}]*)\} from '\.\/[^']+';/g, '').trim();
  expect(rest, 'the entry has explicit named exports only').toBe('');
  return [...text.matchAll(/\{([^}]*)\}/g)]
    .flatMap((match) => match[1].split(',').map((name) => name.trim()))
    .filter((name) => name !== '')
    .sort();
}

describe('@pith/model', () => {
  it('exports these names', () => {
    expect(exportedNames('index.ts')).toMatchInlineSnapshot(`
      [
        "Activation",
        "ActivationStore",
        "AdamWOptions",
        "Architecture",
        "ArchitectureProgram",
        "AttentionInputs",
        "AttentionStates",
        "BatchSource",
        "BiasConfig",
        "BlockInfluence",
        "BlockInfluenceOptions",
        "BlockOutcome",
        "BlockOutput",
        "BlockPass",
        "BlockRunOptions",
        "BlockSpec",
        "CALIBRATION_BATCH_TOKENS",
        "CalibrationChoice",
        "CalibrationOptions",
        "CalibrationWindows",
        "CausalStates",
        "CompareOptions",
        "CompareResult",
        "CosineScheduleOptions",
        "DEFAULT_CALIBRATION_SAMPLES",
        "DEFAULT_CONTEXT",
        "DecodeOptions",
        "DetailedLoss",
        "Divergence",
        "EmbeddingSpec",
        "EvaluationCost",
        "EvaluationOptions",
        "EvaluationProtocol",
        "EvaluationText",
        "EvaluationWindows",
        "ExpectedTensor",
        "Feed",
        "GenerateOptions",
        "GenerateResult",
        "GeneratedToken",
        "HeadAxis",
        "InitialParametersOptions",
        "InputStatistic",
        "InputStatistics",
        "Intervention",
        "LanguageModel",
        "LinearHook",
        "LinearPatterns",
        "LinearRole",
        "LinearRopeScaling",
        "LinearSpec",
        "Llama3RopeScaling",
        "Loss",
        "LossTerms",
        "MemoryPlan",
        "ModelConfig",
        "ModelParts",
        "ModelTransform",
        "ModuleMatcher",
        "NamedTensors",
        "NoRopeScaling",
        "NormSpec",
        "OptimizedParameter",
        "OptimizedResult",
        "Optimizer",
        "PassContext",
        "PastKeys",
        "PerplexityOptions",
        "PerplexityResult",
        "PlainText",
        "PlannedModel",
        "PlannedWeight",
        "RopeConfig",
        "RopeScaling",
        "Schedule",
        "Scope",
        "SelectedLinears",
        "Shaped",
        "SoftTargetOptions",
        "SpikeRule",
        "Stage",
        "StageResult",
        "StepRecord",
        "TechniquePlan",
        "TechniqueProblem",
        "TensorLookup",
        "TensorShapes",
        "TokenText",
        "TokenWindowsOptions",
        "Tokenizer",
        "TopTargets",
        "TrainAll",
        "TrainFactors",
        "TrainFolder",
        "TrainLora",
        "TrainModules",
        "TrainNorms",
        "TrainOptions",
        "TrainRunOptions",
        "TrainRunResult",
        "TrainState",
        "Trainable",
        "TrainableModel",
        "TrainableOptions",
        "Trainer",
        "TrainerOptions",
        "TrainingConfig",
        "TransformContext",
        "TransformResult",
        "WeightChange",
        "WindowBatches",
        "WindowBatchesOptions",
        "WindowOptions",
        "WsdScheduleOptions",
        "adamw",
        "afterPlan",
        "blockInfluences",
        "blockScope",
        "blockTensors",
        "calibrationWindows",
        "causalLogits",
        "causalStates",
        "checkTensors",
        "clipFactor",
        "compare",
        "cosineSchedule",
        "createModel",
        "createTokenizer",
        "createTrainer",
        "crossEntropy",
        "cutWindows",
        "describeArchitecture",
        "describeProtocol",
        "expectedTensors",
        "generate",
        "globalNorm",
        "hiddenStates",
        "initialParameters",
        "linearSelector",
        "listLinears",
        "logits",
        "memoryActivations",
        "modelScope",
        "moduleMatcher",
        "nextTokenLoss",
        "parseTrainable",
        "perplexity",
        "plannedWeight",
        "readModelConfig",
        "runBlocks",
        "scheduleOf",
        "selectLinears",
        "selectTrained",
        "softTargetLoss",
        "supportedModelTypes",
        "tokenWindows",
        "tokensOf",
        "topTargetLoss",
        "trainRun",
        "trainableModel",
        "trainableSchema",
        "trainerParts",
        "trainingFields",
        "trainingSchema",
        "windowBatches",
        "wsdSchedule",
      ]
    `);
  });

  it('has them at run time', async () => {
    const entry: Record<string, unknown> = await import('./index.ts');
    expect(exportedNames('index.ts')).toEqual(expect.arrayContaining(Object.keys(entry)));
    expect(Object.values(entry).every((value) => value !== undefined)).toBe(true);
  });
});

describe('@pith/model/node', () => {
  it('exports these names', () => {
    expect(exportedNames('node/index.ts')).toMatchInlineSnapshot(`
      [
        "CheckpointModel",
        "LossLog",
        "OpenModel",
        "modelFromCheckpoint",
        "openLossLog",
        "openModel",
        "readTokenizer",
        "readTrainState",
        "saveTrainState",
        "trainFolder",
      ]
    `);
  });

  it('has them at run time', async () => {
    const entry: Record<string, unknown> = await import('./node/index.ts');
    expect(exportedNames('node/index.ts')).toEqual(expect.arrayContaining(Object.keys(entry)));
  });
});
