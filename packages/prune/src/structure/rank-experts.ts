// How much each expert of a mixture matters, so that the least can go as a whole.
//
// `wanda`: the root of the sum over the calibration tokens of the square of what the expert adds to the hidden states, its output
// times the share that the router gives it: exactly the norm of what its block loses when the expert says nothing. It is the
// router-weighted activation norm of the literature (Lasby et al. 2025, REAP, which takes the mean over the tokens of the expert;
// the sum here also counts how often it is asked). Lu et al. 2024, Not All Experts Are Equal, try all subsets with tokens sent on
// to other experts; that is not done here: it takes as many runs of each block as there are subsets.
// `taylor`: the sum over the matrix at the end of the expert of |weight| times the root of the mean square of its gradient.
// `magnitude`: the product of the norms of its matrices, without calibration.
import type { Intervention, LanguageModel, LinearSpec, TransformContext } from '@pith/model';
import { throwIfStopped, type WeightTensor } from '@pith/tensor-core';
import { expertSet, type ExpertSet, expertSets } from './expert-units.ts';
import { watchBlocks, type Ranking } from './rank-units.ts';
import type { StructureConfig } from './structure-config.ts';
import { matrixSquares, taylorScores } from './unit-scores.ts';
import { unitAxes } from './slice-groups.ts';

/**
 * Scores [experts] of each block with experts, by the checkpoint name of its router; higher ones matter more.
 *
 * @throws PithError what `runBlocks` throws where the score needs calibration.
 */
export async function rankExperts(
  model: LanguageModel,
  score: StructureConfig['score'],
  context: TransformContext,
): Promise<Ranking> {
  const scores = new Map<string, Float64Array>();
  if (score === 'magnitude') {
    for (const set of expertSets(model.architecture)) {
      throwIfStopped(context.signal, 'structured pruning');
      scores.set(set.router.name, await magnitudes(set, model.weights));
    }
    return { scores, interventions: [] };
  }
  const ends = new Set(expertSets(model.architecture).flatMap((set) => endsOf(set).map(({ name }) => name)));
  const interventions = await watchBlocks(
    model,
    {
      needs: ({ name }) => (score === 'wanda' && ends.has(name) ? ['contribution'] : []),
      needsGradients: ({ name }) => (score === 'taylor' && ends.has(name) ? ['squares'] : []),
      look: async ({ block, statistics, gradients, weights }) => {
        const set = expertSet(block);
        if (set === null) return;
        const own = new Float64Array(set.experts.length);
        const axes = new Map(unitAxes(block, 'neurons').map((axis) => [axis.reader.name, axis]));
        for (const [expert, { name, inputGroup }] of endsOf(set).entries()) {
          if (score === 'wanda') own[expert] = Math.sqrt(statistics.get(inputGroup)!.contribution!);
          else {
            const values = await weights.get(name)!.toF32();
            const neurons = taylorScores(axes.get(name)!, values, gradients!.get(name)!.squares!);
            own[expert] = neurons.reduce((sum, value) => sum + value, 0);
          }
        }
        scores.set(set.router.name, own);
      },
    },
    context,
  );
  return { scores, interventions: interventions.map(goesFirst) };
}

/** The last linear of each expert. */
function endsOf({ experts }: ExpertSet): LinearSpec[] {
  return experts.map((linears) => linears.at(-1)!);
}

async function magnitudes({ experts }: ExpertSet, weights: ReadonlyMap<string, WeightTensor>): Promise<Float64Array> {
  const scores = new Float64Array(experts.length).fill(1);
  for (const [expert, linears] of experts.entries()) {
    for (const { name } of linears) {
      const { rows } = await matrixSquares(weights.get(name)!);
      scores[expert]! *= Math.sqrt(rows.reduce((sum, square) => sum + square, 0));
    }
  }
  return scores;
}

/** An expert that was sent no token adds nothing; elsewhere such a one is ranked by its weights. */
function goesFirst(intervention: Intervention): Intervention {
  if (intervention.code !== 'EXPERT_WITHOUT_TOKENS') return intervention;
  const message =
    'the router sent no calibration token to this expert: it counts as one that adds nothing, and goes first. ' +
    'Give more text, or more varied text.';
  return { ...intervention, message };
}
