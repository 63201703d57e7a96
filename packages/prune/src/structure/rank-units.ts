// Scores of all units of a model: of its weights alone, or with what calibration text says of the units' sizes.
import { runBlocks } from '@pith/model';
import type { BlockPass, BlockSpec, LanguageModel, Stage, TransformContext } from '@pith/model';
import { throwIfStopped, type WeightTensor } from '@pith/tensor-core';
import { unitAxes, type UnitAxis, type UnitKind } from './slice-groups.ts';
import type { StructureConfig } from './structure-config.ts';
import { magnitudeScores, matrixSquares, wandaScores, type MatrixSquares } from './unit-scores.ts';

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
  return score === 'magnitude' ? byMagnitude(model, kinds, context) : byWanda(model, kinds, context);
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

async function byWanda(
  model: LanguageModel,
  kinds: readonly RankedKind[],
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
    needs: ({ name }) => (readers.has(name) ? ['norms'] : []),
    apply: async ({ block, weights, statistics }: Stage) => {
      const entries = axesOf(block, kinds).map(async (axis) => {
        const { columns } = await matrixSquares(weights.get(axis.reader.name) as WeightTensor);
        return [axis.kind, wandaScores(axis, statistics.get(axis.reader.inputGroup)!.squares!, columns)] as const;
      });
      scores[block.index] = Object.fromEntries(await Promise.all(entries));
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
    inputs: 'original', // nothing changes: one run of each block
    onBlock: () => Promise.resolve(),
    ...(signal && { signal }),
    ...(progress && { progress }),
  });
  return scores;
}

function axesOf(block: BlockSpec, kinds: readonly RankedKind[]): UnitAxis[] {
  return kinds.flatMap((kind) => unitAxes(block, kind));
}
