// Writes a whole checkpoint from weights: the simple way, one weight after the other, for models that a program has in
// hand (a trained one, a small one). A run that must resume uses `openOutput` itself.
import { throwIfStopped, type RunOptions, type WeightTensor } from '@pith/tensor-core';
import { planOutput, type PlanOutputOptions } from '../safetensors/plan-output.ts';
import { setMembers } from '../json/set-members.ts';
import { storedChunks, storedMembers, storedTensors, type StoredWeightsOptions } from '../weights/stored-weights.ts';
import { openOutput } from './open-output.ts';

/** A file that is copied byte for byte. */
export interface CopiedFile {
  /** Where it lies. */
  readonly path: string;
}

/** What {@link saveCheckpoint} writes. */
export interface CheckpointContent extends PlanOutputOptions, StoredWeightsOptions {
  /** Text of config.json. With quantized weights, its `quantization_config` is set. */
  readonly configText: string;
  /** Dense weights are stored in their dtype, quantized ones as the format has it. */
  readonly weights: Iterable<WeightTensor>;
  /** Further files by name: their content, or the path of a file to copy. */
  readonly files?: Readonly<Record<string, string | Uint8Array | CopiedFile>>;
}

/**
 * Writes a checkpoint to a directory that does not exist yet; it appears there when it is complete, or not at all.
 *
 * @throws PithError as `planOutput`, `openOutput`, `storedTensors`, `storedChunks` and `storedConfig` do, `STOPPED`.
 */
export async function saveCheckpoint(
  directory: string,
  content: CheckpointContent,
  options: RunOptions = {},
): Promise<void> {
  const weights = [...content.weights];
  const said = storedMembers(weights, content);
  const configText = setMembers(content.configText, said.members);
  const layout = planOutput(
    weights.flatMap((weight) => storedTensors(weight, content)),
    content,
  );
  const output = await openOutput(directory, layout);
  try {
    for (const [done, weight] of weights.entries()) {
      throwIfStopped(options.signal, 'save checkpoint');
      options.progress?.({ phase: 'save', item: weight.name, done, total: weights.length, unit: 'tensor' });
      for await (const { name, offset, bytes } of storedChunks(weight, content)) {
        await output.write(name, offset, bytes);
      }
    }
    await output.writeFile('config.json', configText);
    for (const [name, file] of Object.entries({ ...said.files, ...content.files })) {
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
