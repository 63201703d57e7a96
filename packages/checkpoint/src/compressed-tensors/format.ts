// compressed-tensors as a format among others.
import { restoredDType, type QuantizationScheme, type QuantizedWeight } from '@pith/tensor-core';
import type { FormatConfig, FormatContext, WeightFormat } from '../formats/weight-format.ts';
import { encodeWeight } from './encode-block.ts';
import type { CompressedFormat } from './read-group.ts';
import { activationForm } from './read-activations.ts';
import { compressedFormat, storedPieces, type QuantizedShape } from './stored-pieces.ts';
import { quantizationConfig, type ConfigGroup } from './write-config.ts';

/** What vLLM and transformers read through the compressed-tensors package. */
export const compressedTensors: WeightFormat = Object.freeze<WeightFormat>({
  name: 'compressed-tensors',
  tensors: piecesOf,
  kernelPieces: piecesOf,
  chunks: (weight: QuantizedWeight, context: FormatContext) => encodeWeight(weight, layoutOf(weight, context)),
  config,
});

function piecesOf(weight: QuantizedShape, context: FormatContext) {
  return storedPieces(weight, layoutOf(weight, context));
}

function layoutOf(weight: QuantizedShape, { activations = false }: FormatContext): CompressedFormat {
  return compressedFormat(weight.scheme, weight.activations !== undefined || activations);
}

/** Weights that are coded alike form one config group; where there are several, each names its modules. */
function config(weights: readonly QuantizedShape[], context: FormatContext): FormatConfig {
  const byScheme = new Map<string, { group: ConfigGroup; modules: string[] }>();
  for (const weight of weights) {
    const scheme = weight.scheme as QuantizationScheme;
    const activations = weight.activations ? activationForm(weight.activations) : (context.activations ?? false);
    const groupIndex = weight.groupIndex !== undefined;
    // The dtype of plain scales is no part of a group.
    const micro = scheme.scaleDType === restoredDType(scheme) ? '' : scheme.scaleDType;
    const key = JSON.stringify([{ ...scheme, scaleDType: micro }, activations, groupIndex]);
    const observer = context.observer === undefined ? {} : { observer: context.observer };
    const entry = byScheme.get(key) ?? { group: { scheme, activations, groupIndex, ...observer }, modules: [] };
    entry.modules.push(weight.name.slice(0, -'.weight'.length));
    byScheme.set(key, entry);
  }
  const entries = [...byScheme.values()];
  const groups =
    entries.length === 1 ? [entries[0]!.group] : entries.map(({ group, modules }) => ({ ...group, targets: modules }));
  return {
    members: {
      quantization_config: quantizationConfig({
        groups,
        ignore: context.ignore ?? [],
        ...(context.kvCache && { kvCache: context.kvCache }),
      }),
    },
    files: {},
  };
}
