// The schema of a recipe: what composes techniques, as data. It is published as JSON Schema (`json-schema.ts`), so that
// editors complete and check recipes. The options of each method are checked again, with the model at hand, by the
// package of the technique.
import { WEIGHT_FORMATS } from '@pith/checkpoint';
import { z } from 'zod';
import { BudgetSchema, budgetProblems } from './budget.ts';
import { STAGE_KINDS, type StageKind } from './stage-kinds.ts';
import type { Recipe, RecipeStage } from './types.ts';
import { MethodSchemas, TAUGHT_METHODS, TRAINING_METHODS } from './method-schemas.ts';

const Path = z.string().min(1).max(4096);
const Count = z.int().positive();
/** A name that other stages refer to. */
const Id = z
  .string()
  .regex(/^[A-Za-z][A-Za-z0-9_-]{0,63}$/, 'must be a letter, then up to 63 letters, digits, "-" or "_"')
  .refine((id) => id !== 'source', 'must not be "source", which is the model that the recipe starts from');
const Reference = z.string().min(1).max(64);

const Calibration = z.strictObject({
  text: Path.describe('Text file in UTF-8, or a .json file with a list of token ids.'),
  samples: Count.exactOptional().describe('Windows to calibrate on; 128 when left out.'),
  context: Count.exactOptional().describe(
    'Positions of a window, BOS included; 512 when left out, or what the model has.',
  ),
  choose: z
    .enum(['first', 'random'])
    .exactOptional()
    .describe('Which windows of the text: the first, or a choice by the seed.'),
  inputs: z
    .enum(['compressed', 'original'])
    .exactOptional()
    .describe(
      'Whether a block sees what the compressed blocks before it give (the default), or what the original ones gave.',
    ),
  order: z
    .enum(['block', 'groups'])
    .exactOptional()
    .describe(
      'Linears of a block are rewritten from one collection (block, the default), or group by group, each seeing those before it.',
    ),
});

const Text = z.strictObject({
  text: Path.describe('Text file in UTF-8, or a .json file with a list of token ids.'),
  context: Count.exactOptional().describe('Positions of a window, BOS included.'),
});

const Data = z.strictObject({
  text: Path.describe('Text file in UTF-8, or a .json file with a list of token ids.'),
  context: Count.exactOptional().describe('Positions of a window, BOS included.'),
  samples: Count.exactOptional().describe('Windows; all of the text when left out.'),
});

const Stage = z
  .strictObject({
    id: Id.exactOptional().describe('Name that other stages refer to.'),
    from: Reference.exactOptional().describe(
      'Model that it starts from: "source" or the id of a stage; the stage before when left out.',
    ),
    teacher: z
      .union([Reference, z.array(Reference).min(1).max(16)])
      .exactOptional()
      .describe('Models that teach: "source", names of models, ids of stages.'),
    data: Data.exactOptional().describe('What a stage that trains reads; the calibration text when left out.'),
    ...MethodSchemas,
  })
  .superRefine((stage, context) => {
    const given = STAGE_KINDS.filter((kind) => kind in stage);
    if (given.length === 1) {
      const method = stage[given[0]!]!.method;
      const refuse = (key: 'teacher' | 'data', why: string) =>
        context.addIssue({ code: 'custom', path: [key], message: `${why}; leave it out`, input: stage[key] });
      if (stage.teacher !== undefined && !TAUGHT_METHODS.has(method))
        refuse('teacher', `${method} learns from no teacher`);
      if (stage.data !== undefined && !TRAINING_METHODS.has(method)) {
        refuse('data', `${method} does not train; calibration names the text for all stages`);
      }
      return;
    }
    const message = `must have exactly one of ${STAGE_KINDS.join(', ')}, ${given.length === 0 ? 'it has none' : `it has ${given.join(' and ')}`}`;
    context.addIssue({ code: 'custom', message, input: stage });
  });

/** The schema of a recipe (zod). Unknown keys are refused. */
export const RecipeSchema: z.ZodType<Recipe> = z
  .strictObject({
    version: z.literal(1).describe('Version of this layout.'),
    seed: z.int().nonnegative().exactOptional().describe('Seed of everything random; 0 when left out.'),
    models: z
      .record(Id, Path)
      .exactOptional()
      .describe('Further checkpoints by name, for stages to start from or to learn from.'),
    calibration: Calibration.exactOptional().describe('What calibrated stages look at; one text for all.'),
    stages: z.array(Stage).min(1).max(32).describe('What is done, in order.'),
    budget: BudgetSchema.exactOptional().describe(
      'Most that the artefact may take; an option that says "fit" is chosen by it.',
    ),
    evaluate: Text.exactOptional().describe('Measures quality before and after on a text.'),
    output: z
      .strictObject({
        format: z
          .string()
          .max(100)
          .refine((text) => WEIGHT_FORMATS.includes(text.split(':')[0]!.toLowerCase()), {
            message: `must be one of ${WEIGHT_FORMATS.join(', ')}, with a variant behind a colon where its codes are meant (mlx:4)`,
          })
          .exactOptional()
          .describe(
            `How quantized weights are stored: ${WEIGHT_FORMATS.join(', ')}, with a variant that they must have (mlx:4); compressed-tensors when left out.`,
          ),
        shardBytes: Count.exactOptional().describe('Most bytes of tensors in a file; 5 GB when left out.'),
        sparse: z
          .boolean()
          .exactOptional()
          .describe('Stores pruned weights as compressed-tensors stores sparse ones, where that is smaller.'),
      })
      .exactOptional()
      .describe('How the artefact is stored.'),
  })
  .superRefine((recipe, context) => {
    for (const { path, message } of budgetProblems(recipe as unknown as Recipe)) {
      context.addIssue({ code: 'custom', path, message });
    }
  }) as unknown as z.ZodType<Recipe>;

/** The kind of a stage and its options. */
export function methodOf(stage: RecipeStage): {
  readonly kind: StageKind;
  readonly options: Readonly<Record<string, unknown>> & { readonly method: string };
} {
  const kind = STAGE_KINDS.find((candidate) => stage[candidate] !== undefined)!;
  return { kind, options: stage[kind] as Readonly<Record<string, unknown>> & { readonly method: string } };
}
