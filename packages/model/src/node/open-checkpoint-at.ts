// What a `<model>` is: the one place that turns its name into an open checkpoint. Every command and every function that takes a
// model goes through here.
import type { Checkpoint } from '@pith/checkpoint';
import { openCheckpoint } from '@pith/checkpoint/node';
import { textCheckpoint } from '../architecture/text-checkpoint.ts';
import { isGgufFile, openGgufCheckpoint } from './open-gguf-checkpoint.ts';

/**
 * Opens the model of a name: a Hugging Face directory, of which the text model is taken where it holds more, or a GGUF file.
 *
 * @throws PithError as `openCheckpoint`, `textCheckpoint` and `openGgufCheckpoint` do.
 */
export async function openCheckpointAt(model: string): Promise<Checkpoint> {
  if (await isGgufFile(model)) return openGgufCheckpoint(model);
  return textCheckpoint(await openCheckpoint(model));
}
