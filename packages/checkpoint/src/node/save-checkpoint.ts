// Writes a whole checkpoint from weights: the simple way, one weight after the other, for models that a program has in
// hand (a trained one, a small one). A run that must resume uses `openOutput` itself.
import { PithError, throwIfStopped, type RunOptions, type WeightTensor } from '@pith/tensor-core';
import { encodeWeight } from '../compressed-tensors/encode-block.ts';
import { compressedFormat, storedPieces } from '../compressed-tensors/stored-pieces.ts';
import { quantizationConfig, type ConfigGroup } from '../compressed-tensors/write-config.ts';
import { setMembers } from '../json/set-members.ts';
import { planOutput, type OutputTensor, type PlanOutputOptions } from '../safetensors/plan-output.ts';
import type { StoredDType } from '../safetensors/stored-dtype.ts';
import type { CheckpointOutput } from './checkpoint-output.ts';
import { openOutput } from './open-output.ts';

/** Bytes of a dense weight that are copied at a time. */
const CHUNK_BYTES = 8 * 1024 * 1024;

/** A file that is copied byte for byte. */
export interface CopiedFile {
  /** Where it lies. */
  readonly path: string;
}

/** What {@link saveCheckpoint} writes. */
export interface CheckpointContent extends PlanOutputOptions {
  /** Text of config.json. With quantized weights, its `quantization_config` is set. */
  readonly configText: string;
  /** Dense weights are stored in their dtype, quantized ones as compressed-tensors. */
  readonly weights: Iterable<WeightTensor>;
  /** True when runtimes are to quantize activations as well (W8A8, FP8). */
  readonly activations?: boolean;
  /** Paths of linear modules that stay dense, `lm_head` first of all; needed with quantized weights. */
  readonly ignore?: readonly string[];
  /** Further files by name: their content, or the path of a file to copy. */
  readonly files?: Readonly<Record<string, string | Uint8Array | CopiedFile>>;
}

/**
 * Writes a checkpoint to a directory that does not exist yet; it appears there when it is complete, or not at all.
 *
 * Quantized weights that are coded alike form one config group; where there are several groups, each names its modules.
 *
 * @throws PithError as `planOutput`, `openOutput`, `storedPieces`, `quantizationConfig` and `setMembers` do, `STOPPED`.
 */
export async function saveCheckpoint(
  directory: string,
  content: CheckpointContent,
  options: RunOptions = {},
): Promise<void> {
  const weights = [...content.weights];
  const activations = content.activations ?? false;
  const configText = withQuantization(content, weights, activations);
  const layout = planOutput(
    weights.flatMap((weight) => storedTensors(weight, activations)),
    content,
  );
  const output = await openOutput(directory, layout);
  try {
    for (const [done, weight] of weights.entries()) {
      throwIfStopped(options.signal, 'save checkpoint');
      options.progress?.({ phase: 'save', item: weight.name, done, total: weights.length, unit: 'tensor' });
      await writeWeight(output, weight, activations);
    }
    await output.writeFile('config.json', configText);
    for (const [name, file] of Object.entries(content.files ?? {})) {
      if (typeof file === 'object' && 'path' in file) await output.copyFile(file.path, name);
      else await output.writeFile(name, file);
    }
    await output.finish(options);
    await output.publish();
  } catch (error) {
    await output.discard();
    throw error;
  }
}

/** The tensors that a weight is stored as. */
function storedTensors(weight: WeightTensor, activations: boolean): OutputTensor[] {
  if (weight.kind === 'dense') {
    return [{ name: weight.name, dtype: weight.dtype as StoredDType, shape: weight.shape }];
  }
  if (weight.kind === 'quantized') return [...storedPieces(weight, compressedFormat(weight.scheme, activations))];
  throw new PithError(
    'REPRESENTATION_UNSUPPORTED',
    `save checkpoint: ${weight.name} is ${weight.kind}, which is not written yet; restore it to dense first`,
    { details: { tensor: weight.name, representation: weight.kind } },
  );
}

async function writeWeight(output: CheckpointOutput, weight: WeightTensor, activations: boolean): Promise<void> {
  if (weight.kind === 'quantized') {
    for await (const { name, offset, bytes } of encodeWeight(weight, compressedFormat(weight.scheme, activations))) {
      await output.write(name, offset, bytes);
    }
    return;
  }
  if (weight.kind !== 'dense') return;
  const rows = weight.shape[0] ?? 1;
  const rowBytes = rows === 0 ? 0 : weight.byteLength / rows;
  const step = Math.max(1, Math.floor(CHUNK_BYTES / Math.max(1, rowBytes)));
  for (let start = 0; start < rows; start += step) {
    const bytes = await weight.bytes(start, Math.min(rows, start + step));
    await output.write(weight.name, start * rowBytes, bytes);
  }
}

function withQuantization(content: CheckpointContent, weights: readonly WeightTensor[], activations: boolean): string {
  const byScheme = new Map<string, { group: ConfigGroup; modules: string[] }>();
  for (const weight of weights) {
    if (weight.kind !== 'quantized') continue;
    const { scheme } = weight;
    // The scale dtype is no part of a group.
    const key = JSON.stringify({ ...scheme, scaleDType: '' });
    const entry = byScheme.get(key) ?? { group: { scheme, activations }, modules: [] };
    entry.modules.push(weight.name.slice(0, -'.weight'.length));
    byScheme.set(key, entry);
  }
  const entries = [...byScheme.values()];
  if (entries.length === 0) return setMembers(content.configText, { quantization_config: undefined });
  const groups =
    entries.length === 1 ? [entries[0]!.group] : entries.map(({ group, modules }) => ({ ...group, targets: modules }));
  const config = quantizationConfig({ groups, ignore: content.ignore ?? [] });
  return setMembers(content.configText, { quantization_config: config });
}
