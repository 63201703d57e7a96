import { compressedTensorsNote } from '@pith/model';

/** What a plan says of runtimes that do not load what it makes. */
export function runtimeNotices(format: string, modelType: string): string[] {
  const note = format === 'compressed-tensors' ? compressedTensorsNote(modelType) : null;
  return note === null ? [] : [`transformers does not run ${modelType} from compressed-tensors: ${note}`];
}
