// What the plan of a GGUF file says of each weight of the model: where it goes and as what, what is left out, and what is rounded twice.
import type { CheckpointTensor } from '@pith/checkpoint';
import { ggufLeavesOut, withoutNextTokens, type GgufPart, type GgufTensorSource } from '@pith/model';
import type { OpenModel } from '@pith/model/node';
import type { ChosenType, GgmlWritableType } from '@pith/quant';
import type { WeightTensor } from '@pith/tensor-core';
import type { PlannedTensor } from '../../plan/types.ts';
import { carriedReason, isCarried } from './carry-weight.ts';
import { derivedWeight } from './derived-weight.ts';

/** The tensors of a file, as they are planned; all by their names there. */
export interface GgufPlan {
  /** What they are made of. */
  readonly sources: readonly GgufTensorSource[];
  /** Types of those whose type a mixture chooses. */
  readonly types: ReadonlyMap<string, ChosenType>;
  /** Types and bytes of all. */
  readonly placed: ReadonlyMap<string, { readonly place: { readonly type: string; readonly byteLength: number } }>;
  /** Those that are copied from another GGUF file. */
  readonly copies: ReadonlyMap<string, CheckpointTensor>;
}

/** What becomes of each weight. */
export function plannedTensors({ architecture, weights, config }: OpenModel, plan: GgufPlan): PlannedTensor[] {
  const { sources, types, placed, copies } = plan;
  const byWeight = new Map<string, { readonly source: GgufTensorSource; readonly part: GgufPart }>();
  for (const source of sources) {
    // A head that is a copy of the embedding comes second.
    for (const part of source.parts) if (!byWeight.has(part.name)) byWeight.set(part.name, { source, part });
  }
  const ofTheModel = new Set(withoutNextTokens({ architecture, weights }));
  return [...weights.values()].map((weight): PlannedTensor => {
    const { name, byteLength: bytesBefore } = weight;
    const found = byWeight.get(name);
    if (found === undefined) {
      const reason = !ofTheModel.has(name)
        ? 'left out: it belongs to a block that guesses the tokens after the next'
        : ggufLeavesOut(config.modelType, name)
          ? 'left out: llama.cpp has no head for masked words'
          : 'left out: the output projection is the token embedding';
      return { name, action: 'omit', reason, bytesBefore, bytesAfter: 0 };
    }
    const { source, part } = found;
    if (part.section !== undefined) return takenApart(weight, plan);
    const { type, byteLength } = placed.get(source.name)!.place;
    const bytesAfter = byteLength / source.parts.length;
    const carried = carries(weight, part, type);
    if (copies.has(source.name) || (carried && weight.kind === 'packed')) {
      return { name, action: 'keep', reason: `kept: ${source.name} is ${type} already`, bytesBefore, bytesAfter };
    }
    const instead = types.get(source.name)?.insteadOf;
    const why = instead == null ? '' : `, whose blocks divide its columns, in place of ${instead}`;
    const how = carried && weight.kind === 'quantized' ? `, ${carriedReason(weight)}` : '';
    return {
      name,
      action: actionFor([type]),
      reason: `${source.name} as ${type}${why}${how}`,
      bytesBefore,
      bytesAfter,
    };
  });
}

/** A weight whose rows go to several tensors, none of which has others. */
function takenApart({ name, byteLength }: WeightTensor, { sources, placed }: GgufPlan): PlannedTensor {
  const own = sources
    .filter(({ parts }) => parts.some((part) => part.name === name))
    .map((source) => ({ name: source.name, ...placed.get(source.name)!.place }));
  return {
    name,
    action: actionFor(own.map(({ type }) => type)),
    reason: own.map((tensor) => `${tensor.name} as ${tensor.type}`).join('; '),
    bytesBefore: byteLength,
    bytesAfter: own.reduce((sum, tensor) => sum + tensor.byteLength, 0),
  };
}

/** Types of single numbers have no blocks: nothing is quantized. */
function actionFor(types: readonly string[]): 'convert' | 'quantize' {
  return types.every((type) => type === 'f32' || type === 'f16' || type === 'bf16') ? 'convert' : 'quantize';
}

/** A source whose blocks are restored and coded again loses twice. */
export function requantizedNotices({ weights }: OpenModel, { sources, placed, copies }: GgufPlan): string[] {
  const again = new Set<string>();
  for (const { name, parts } of sources) {
    if (copies.has(name)) continue;
    for (const part of parts) {
      const weight = weights.get(part.name)!;
      const coded = weight.kind === 'packed' || weight.kind === 'quantized';
      if (coded && !carries(weight, part, placed.get(name)!.place.type)) again.add(part.name);
    }
  }
  if (again.size === 0) return [];
  return [
    `the source holds ${again.size} quantized weights that are stored in another type: they are made from their restored values, so ` +
      'that they are quantized again; the model before quantization gives better results',
  ];
}

/** True where the codes of a weight go into the file as they are. */
function carries(weight: WeightTensor, part: GgufPart, type: string): boolean {
  return isCarried(derivedWeight(weight, part), part, type as GgmlWritableType);
}
