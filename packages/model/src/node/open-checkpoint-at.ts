// What a `<model>` is: the one place that turns its name into an open checkpoint. Every command and every function that takes a
// model goes through here.
import type { Checkpoint } from '@pith/checkpoint';
import { openCheckpoint } from '@pith/checkpoint/node';
import { isGgufFile, openGgufCheckpoint } from './open-gguf-checkpoint.ts';

/**
 * Opens the model of a name: a Hugging Face directory, or a GGUF file.
 *
 * @throws PithError as `openCheckpoint` and `openGgufCheckpoint` do.
 */
export async function openCheckpointAt(model: string): Promise<Checkpoint> {
  if (await isGgufFile(model)) return openGgufCheckpoint(model);
  return openCheckpoint(model);
}
