// Scores of all units of a model: of its weights alone, or with what calibration text says of the units' sizes.
import { runBlocks } from '@pith/model';
import type { BlockPass, BlockSpec, Intervention, LanguageModel, Stage, TransformContext } from '@pith/model';
import { throwIfStopped, type WeightTensor } from '@pith/tensor-core';
import { unitAxes, type UnitAxis } from './slice-groups.ts';
import type { StructureConfig } from './structure-config.ts';
import { magnitudeScores, matrixSquares, taylorScores, wandaScores, type MatrixSquares } from './unit-scores.ts';
import { withinMemory } from './within-memory.ts';

/** Kinds that are ranked within a block. */
export type RankedKind = UnitAxis['kind'];

/** Scores [units] by the checkpoint name of the linear that reads the units, of experts of their router; higher ones matter more. */
export type UnitScores = ReadonlyMap<string, Float64Array>;

/** What {@link rankUnits} finds. */
export interface Ranking {
  /** See {@link UnitScores}. */
  readonly scores: UnitScores;
  /** What calibration noticed: experts without tokens, whose units are ranked by their weights. */
  readonly interventions: readonly Intervention[];
}

/**
 * Scores of the units of every block.
 *
 * @throws PithError what `runBlocks` throws where the score needs calibration.
 */
export async function rankUnits(
  model: LanguageModel,
  kinds: readonly RankedKind[],
  score: StructureConfig['score'],
  context: TransformContext,
): Promise<Ranking> {
  return score === 'magnitude' ? byMagnitude(model, kinds, context) : byCalibration(model, kinds, score, context);
}

async function byMagnitude(
  model: LanguageModel,
  kinds: readonly RankedKind[],
  { signal, progress }: TransformContext,
): Promise<Ranking> {
  const { blocks } = model.architecture;
  const scores = new Map<string, Float64Array>();
  for (const block of blocks) {
    throwIfStopped(signal, 'structured pruning');
    for (const axis of axesOf(block, kinds)) scores.set(axis.reader.name, await magnitudesOf(axis, model.weights));
    progress?.({ phase: 'score', item: block.path, done: block.index + 1, total: blocks.length, unit: 'block' });
  }
  return { scores, interventions: [] };
}

async function byCalibration(
  model: LanguageModel,
  kinds: readonly RankedKind[],
  score: 'wanda' | 'taylor',
  context: TransformContext,
): Promise<Ranking> {
  const scores = new Map<string, Float64Array>();
  const readers = new Set(
    model.architecture.blocks.flatMap((block) => axesOf(block, kinds).map(({ reader }) => reader.name)),
  );
  const interventions = await watchBlocks(
    model,
    {
      needs: ({ name }) => (score === 'wanda' && readers.has(name) ? ['norms'] : []),
      needsGradients: ({ name }) => (score === 'taylor' && readers.has(name) ? ['squares'] : []),
      look: async (stage) => {
        for (const axis of axesOf(stage.block, kinds)) {
          scores.set(axis.reader.name, await scoresOf(axis, stage, score));
        }
      },
    },
    context,
  );
  return { scores, interventions };
}

/** A walk over the blocks that rewrites nothing: it looks at what the units give to the linears that read them. */
export interface BlockWatch extends Pick<BlockPass, 'needs' | 'needsGradients'> {
  /** Called once for each block. */
  look(stage: Stage): Promise<void>;
}

/** Walks over the blocks; returns what calibration noticed. @throws PithError what `runBlocks` throws. */
export async function watchBlocks(
  model: LanguageModel,
  { look, ...needs }: BlockWatch,
  context: TransformContext,
): Promise<readonly Intervention[]> {
  const interventions: Intervention[] = [];
  const watch: BlockPass = {
    ...needs,
    name: 'structure-scores',
    config: {},
    plan: () => ({ changes: [], problems: [], notices: [] }),
    apply: async (stage) => {
      await look(stage);
      return { weights: new Map(), records: {}, interventions: [] };
    },
  };
  const { device, pool, windows, seed, signal, progress } = context;
  await runBlocks(model, {
    device,
    pool,
    windows,
    seed,
    passes: [watch],
    ...(await withinMemory(model, [watch], context)),
    inputs: 'original', // nothing changes: one run of each block
    onBlock: ({ interventions: own }) => {
      interventions.push(...own);
      return Promise.resolve();
    },
    ...(signal && { signal }),
    ...(progress && { progress }),
  });
  return interventions;
}

async function magnitudesOf(axis: UnitAxis, weights: ReadonlyMap<string, WeightTensor>): Promise<Float64Array> {
  const squares = new Map<string, MatrixSquares>();
  for (const { name } of [axis.reader, ...axis.feeders.map(({ linear }) => linear)]) {
    squares.set(name, await matrixSquares(weights.get(name)!));
  }
  return magnitudeScores(axis, squares);
}

async function scoresOf(axis: UnitAxis, stage: Stage, score: 'wanda' | 'taylor'): Promise<Float64Array> {
  const { weights, statistics, gradients } = stage;
  const { name, inputGroup, expert } = axis.reader;
  // Nothing is known of what an expert without tokens reads.
  if (expert !== null && statistics.get(inputGroup)?.tokens === 0) return magnitudesOf(axis, weights);
  const weight = weights.get(name)!;
  if (score === 'taylor') return taylorScores(axis, await weight.toF32(), gradients!.get(name)!.squares!);
  return wandaScores(axis, statistics.get(inputGroup)!.squares!, (await matrixSquares(weight)).columns);
}

function axesOf(block: BlockSpec, kinds: readonly RankedKind[]): UnitAxis[] {
  return kinds.flatMap((kind) => unitAxes(block, kind));
}
