// The model that a recipe starts from: quantized and sparse weights restored, so that every technique finds values it
// can work on; what no stage touches is written as it was.
import { QUANTIZATION_KEYS, type TiedEmbeddings } from '@pith/checkpoint';
import { createModel, plannedWeight, type LanguageModel, type PlannedModel, type PlannedWeight } from '@pith/model';
import { modelFromCheckpoint } from '@pith/model/node';
import { factoredWeight, type FactoredWeight, type WeightTensor } from '@pith/tensor-core';
import type { Source } from '../source/open-source.ts';
import { restoredWeight } from '../source/restored-weight.ts';

/** A model between two stages. */
export interface StageModel {
  readonly model: LanguageModel;
  /** The parsed config.json that belongs to it. */
  readonly config: Readonly<Record<string, unknown>>;
}

/** The model of a source, ready for stages. */
export interface StageSource extends StageModel {
  readonly source: Source;
  /** The same as plans see it. */
  readonly planned: PlannedModel;
  /** Names of the weights that are restored, with the representation that they have in the source: `quantized`. */
  readonly restored: ReadonlyMap<string, string>;
  readonly embeddings: TiedEmbeddings;
  /**
   * The weight as an output holds it where no stage works on it: as the source does, but for blocks that belong to another
   * format, which stay restored.
   */
  original(weight: WeightTensor): WeightTensor;
  /** The same of a planned weight. */
  originalPlan(weight: PlannedWeight): PlannedWeight;
  /** Bytes of a planned weight in the source. */
  bytesBefore(weight: PlannedWeight): number;
}

/**
 * The model of a source.
 *
 * @throws PithError those of opening a model.
 */
export async function stageSource(source: Source): Promise<StageSource> {
  const { embeddings, ...opened } = await modelFromCheckpoint(source.checkpoint);
  const { checkpoint } = source;
  const originals = new Map<WeightTensor, WeightTensor>();
  const restored = new Map<string, string>();
  const weights = new Map<string, WeightTensor>();
  for (const [name, weight] of opened.weights) {
    // A copy of the embedding that the config ties to it is left out.
    if (embeddings === 'tied-duplicate' && name === `${opened.architecture.head.path}.weight`) continue;
    const value = workable(weight);
    if (value !== weight) {
      originals.set(value, weight);
      restored.set(name, weight.kind === 'packed' ? `packed (${weight.coding})` : weight.kind);
    }
    weights.set(name, value);
  }
  const rest = Object.fromEntries(
    Object.entries(checkpoint.config).filter(([key]) => !QUANTIZATION_KEYS.includes(key)),
  );
  const config = embeddings === 'conflict' ? { ...rest, tie_word_embeddings: false } : rest;
  const { tokenizer } = opened;
  const { generationConfig } = checkpoint;
  const model = createModel({ config, weights, tokenizer, ...(generationConfig && { generationConfig }) });
  const plannedWeights = new Map<string, PlannedWeight>();
  const plannedOriginals = new Map<PlannedWeight, PlannedWeight>();
  for (const [name, weight] of weights) {
    const planned = plannedWeight(weight);
    plannedWeights.set(name, planned);
    const original = originals.get(weight);
    if (original !== undefined) plannedOriginals.set(planned, plannedWeight(original));
  }
  return {
    source,
    model,
    config,
    planned: { config, architecture: model.architecture, weights: plannedWeights },
    restored,
    embeddings,
    original: (weight) => {
      const original = originals.get(weight);
      return original === undefined || original.kind === 'packed' ? weight : original;
    },
    originalPlan: (weight) => {
      const original = plannedOriginals.get(weight);
      return original === undefined || original.kind === 'packed' ? weight : original;
    },
    bytesBefore: (weight) => (plannedOriginals.get(weight) ?? weight).byteLength,
  };
}

/** The weight in a form that techniques work on: dense, or two dense factors. */
function workable(weight: WeightTensor): WeightTensor {
  if (weight.kind === 'quantized' || weight.kind === 'sparse' || weight.kind === 'packed')
    return restoredWeight(weight);
  if (weight.kind !== 'factored' || (weight.left.kind === 'dense' && weight.right.kind === 'dense')) return weight;
  const factor = (one: FactoredWeight['left']) => (one.kind === 'dense' ? one : restoredWeight(one));
  return factoredWeight({ name: weight.name, left: factor(weight.left), right: factor(weight.right) });
}
