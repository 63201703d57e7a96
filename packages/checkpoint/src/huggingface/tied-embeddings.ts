// Tied embeddings: the output projection is the token embedding itself. A writer that stores it twice doubles the
// largest matrix of a small model; a reader that ties what was trained apart gets gibberish.
//
// The rules are those of transformers 5: with `tie_word_embeddings` true, a missing head is the embedding; a stored
// head that is equal is tied; one that differs stays on its own.
import type { Checkpoint, CheckpointTensor } from './checkpoint.ts';
import type { FileStore } from './file-store.ts';

/** How the output projection and the token embedding of a checkpoint are related. */
export type TiedEmbeddings =
  /** The config does not tie them. */
  | 'untied'
  /** Tied, and stored once. */
  | 'tied'
  /** Tied, and the head is stored a second time with the same bytes: an output leaves it out. */
  | 'tied-duplicate'
  /** The config ties them, yet the stored head differs: it counts, and an output must set `tie_word_embeddings` false. */
  | 'conflict';

/** Bytes that are compared at a time. */
const CHUNK = 4 * 1024 * 1024;
/** Bytes at the start, in the middle and at the end that are compared where reading is costly. */
const SAMPLE = 16 * 1024;

/**
 * Finds out how the head and the embedding are related; reads both where both are stored under a config that ties them.
 * Of a remote checkpoint three samples of 16 KiB are compared: heads that were trained apart differ everywhere.
 *
 * @param embedding name of the token embedding: `model.embed_tokens.weight`.
 * @param head name of the output projection: `lm_head.weight`.
 * @param declared `tie_word_embeddings` after the defaults of the architecture; the config's own when left out.
 */
export async function tiedEmbeddings(
  checkpoint: Pick<Checkpoint, 'config' | 'tensors'> &
    Partial<Pick<Checkpoint, 'weights'>> & { readonly store?: Pick<FileStore, 'remote'> },
  embedding: string,
  head: string,
  declared: boolean = checkpoint.config['tie_word_embeddings'] === true,
): Promise<TiedEmbeddings> {
  if (!declared) return 'untied';
  // A head of codes of its own is no copy of the embedding, whatever it restores to.
  const coded = checkpoint.weights?.get(head)?.kind;
  if (coded !== undefined && coded !== 'dense') return 'conflict';
  const [first, second] = [checkpoint.tensors.get(embedding), checkpoint.tensors.get(head)];
  if (!first || !second) return 'tied';
  return (await sameBytes(first, second, checkpoint.store?.remote === true)) ? 'tied-duplicate' : 'conflict';
}

async function sameBytes(a: CheckpointTensor, b: CheckpointTensor, sampled: boolean): Promise<boolean> {
  if (a.dtype !== b.dtype || a.byteLength !== b.byteLength || a.shape.join() !== b.shape.join()) return false;
  for (const [offset, length] of sampled ? samples(a.byteLength) : chunks(a.byteLength)) {
    const [left, right] = await Promise.all([a.source.read(offset, length), b.source.read(offset, length)]);
    for (let i = 0; i < length; i += 1) if (left[i] !== right[i]) return false;
  }
  return true;
}

function* chunks(byteLength: number): Generator<[offset: number, length: number]> {
  for (let offset = 0; offset < byteLength; offset += CHUNK) yield [offset, Math.min(CHUNK, byteLength - offset)];
}

function samples(byteLength: number): Iterable<[offset: number, length: number]> {
  if (byteLength <= 3 * SAMPLE) return chunks(byteLength);
  return [0, Math.floor((byteLength - SAMPLE) / 2), byteLength - SAMPLE].map((offset) => [offset, SAMPLE]);
}
