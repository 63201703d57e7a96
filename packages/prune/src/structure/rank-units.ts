// Scores of all units of a model: of its weights alone, or with what calibration text says of the units' sizes.
import { runBlocks } from '@pith/model';
import type { BlockPass, BlockSpec, LanguageModel, Stage, TransformContext } from '@pith/model';
import { throwIfStopped } from '@pith/tensor-core';
import { unitAxes, type UnitAxis, type UnitKind } from './slice-groups.ts';
import type { StructureConfig } from './structure-config.ts';
import { magnitudeScores, matrixSquares, taylorScores, wandaScores, type MatrixSquares } from './unit-scores.ts';
import { withinMemory } from './within-memory.ts';

/** Kinds that are ranked within a block. */
export type RankedKind = Exclude<UnitKind, 'layers'>;

/** Scores [units] of one block by kind; higher ones matter more. */
export type BlockScores = Readonly<Partial<Record<RankedKind, Float64Array>>>;

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
): Promise<BlockScores[]> {
  return score === 'magnitude' ? byMagnitude(model, kinds, context) : byCalibration(model, kinds, score, context);
}

async function byMagnitude(
  model: LanguageModel,
  kinds: readonly RankedKind[],
  { signal, progress }: TransformContext,
): Promise<BlockScores[]> {
  const { blocks } = model.architecture;
  const scores: BlockScores[] = [];
  for (const block of blocks) {
    throwIfStopped(signal, 'structured pruning');
    const axes = axesOf(block, kinds);
    const squares = new Map<string, MatrixSquares>();
    for (const { reader, feeders } of axes) {
      for (const { name } of [reader, ...feeders.map(({ linear }) => linear)]) {
        squares.set(name, await matrixSquares(model.weights.get(name)!));
      }
    }
    scores.push(Object.fromEntries(axes.map((axis) => [axis.kind, magnitudeScores(axis, squares)])));
    progress?.({ phase: 'score', item: block.path, done: scores.length, total: blocks.length, unit: 'block' });
  }
  return scores;
}

async function byCalibration(
  model: LanguageModel,
  kinds: readonly RankedKind[],
  score: 'wanda' | 'taylor',
  context: TransformContext,
): Promise<BlockScores[]> {
  const scores: BlockScores[] = [];
  const readers = new Set(
    model.architecture.blocks.flatMap((block) => axesOf(block, kinds).map(({ reader }) => reader.name)),
  );
  /** Rewrites nothing: it looks at what the units give to the linears that read them. */
  const watch: BlockPass = {
    name: 'structure-scores',
    config: {},
    plan: () => ({ changes: [], problems: [], notices: [] }),
    needs: ({ name }) => (score === 'wanda' && readers.has(name) ? ['norms'] : []),
    needsGradients: ({ name }) => (score === 'taylor' && readers.has(name) ? ['squares'] : []),
    apply: async (stage: Stage) => {
      const entries: [RankedKind, Float64Array][] = [];
      for (const axis of axesOf(stage.block, kinds)) entries.push([axis.kind, await scoresOf(axis, stage, score)]);
      scores[stage.block.index] = Object.fromEntries(entries);
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
    onBlock: () => Promise.resolve(),
    ...(signal && { signal }),
    ...(progress && { progress }),
  });
  return scores;
}

async function scoresOf(
  axis: UnitAxis,
  { weights, statistics, gradients }: Stage,
  score: 'wanda' | 'taylor',
): Promise<Float64Array> {
  const { name, inputGroup } = axis.reader;
  const weight = weights.get(name)!;
  if (score === 'taylor') return taylorScores(axis, await weight.toF32(), gradients!.get(name)!.squares!);
  return wandaScores(axis, statistics.get(inputGroup)!.squares!, (await matrixSquares(weight)).columns);
}

function axesOf(block: BlockSpec, kinds: readonly RankedKind[]): UnitAxis[] {
  return kinds.flatMap((kind) => unitAxes(block, kind));
}
