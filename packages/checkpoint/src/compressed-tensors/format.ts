// compressed-tensors as a format among others.
import type { QuantizationScheme, QuantizedWeight } from '@pith/tensor-core';
import type { FormatConfig, FormatContext, WeightFormat } from '../formats/weight-format.ts';
import { encodeWeight } from './encode-block.ts';
import type { CompressedFormat } from './quantization-config.ts';
import { compressedFormat, refuseGroupIndex, storedPieces, type QuantizedShape } from './stored-pieces.ts';
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
  refuseGroupIndex(weight);
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
    const activations = formOf(weight) ?? context.activations ?? false;
    // The scale dtype is no part of a group.
    const key = JSON.stringify([{ ...scheme, scaleDType: '' }, activations]);
    const observer = context.observer === undefined ? {} : { observer: context.observer };
    const entry = byScheme.get(key) ?? { group: { scheme, activations, ...observer }, modules: [] };
    entry.modules.push(weight.name.slice(0, -'.weight'.length));
    byScheme.set(key, entry);
  }
  const entries = [...byScheme.values()];
  const groups =
    entries.length === 1 ? [entries[0]!.group] : entries.map(({ group, modules }) => ({ ...group, targets: modules }));
  return {
    members: { quantization_config: quantizationConfig({ groups, ignore: context.ignore ?? [] }) },
    files: {},
  };
}

/** What a config group says of the activations of a weight. */
function formOf({ activations }: QuantizedShape) {
  if (activations === undefined) return undefined;
  const { kind, dtype, symmetric } = activations;
  return { kind, dtype, symmetric };
}
