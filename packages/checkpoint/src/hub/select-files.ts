// Which files of a repository a model needs: repositories hold the same weights several times over (safetensors, pickle,
// ONNX, GGUF of every type), and only one of the copies is wanted.
import { PithError } from '@pith/tensor-core';
import { fileRole } from '../huggingface/file-roles.ts';
import type { FileStore } from '../huggingface/file-store.ts';
import { findWeightFiles } from '../huggingface/find-weight-files.ts';
import type { HubFile, HubRepository } from './hub-repository.ts';

/** The files of a model in a repository. */
export interface SelectedFiles {
  /** What has to be fetched. */
  readonly files: readonly HubFile[];
  /** The GGUF file that the model is, the first of its parts where it is split; absent for a directory. */
  readonly single?: string;
}

/** Most names that a message lists. */
const LISTED = 12;

/**
 * The files of a model: config, tokenizer, generation config, licence and the safetensors files of the index; or one GGUF
 * file, where it is named, or the only weights that there are.
 *
 * @param store the files at the top of the repository; the index is read from it.
 * @param named path of a file, or a part of one that only one GGUF file has: `Q4_K_M`.
 * @throws PithError `HUB_FILE_MISSING`, `HUB_FILE_AMBIGUOUS`, and those of finding the weights of a checkpoint.
 */
export async function selectFiles(repository: HubRepository, store: FileStore, named?: string): Promise<SelectedFiles> {
  const ggufs = repository.files.filter(({ path }) => isWeightGguf(path));
  if (named !== undefined) return oneGguf(repository, ggufs, named);
  const listed = await store.list();
  const names = new Set(listed.map(({ name }) => name));
  if (ggufs.length > 0 && ![...names].some((name) => name.endsWith('.safetensors'))) {
    return oneGguf(repository, ggufs);
  }
  if (!names.has('config.json')) {
    throw new PithError(
      'CHECKPOINT_NO_CONFIG',
      `open ${repository.id}: a checkpoint has a config.json, the repository has none; name the repository of a language model`,
      { details: { id: repository.id } },
    );
  }
  const weights = new Set((await findWeightFiles(store, listed)).names);
  const wanted = new Set(
    listed
      .map((file) => fileRole(file, weights))
      .filter(({ carried, role }) => carried || role === 'weights' || role === 'index' || role === 'config')
      .map(({ name }) => name),
  );
  return { files: repository.files.filter(({ path }) => wanted.has(path)) };
}

/** A GGUF file of a language model: those of image encoders lie beside it. */
function isWeightGguf(path: string): boolean {
  return /\.gguf$/i.test(path) && !/(^|\/)mmproj/i.test(path);
}

const PART = /-(\d{5})-of-(\d{5})\.gguf$/i;

/** The file that is meant, with all of its parts. */
function oneGguf(repository: HubRepository, ggufs: readonly HubFile[], named?: string): SelectedFiles {
  const { id } = repository;
  // Parts of one file count once.
  const first = ggufs.filter(({ path }) => Number(PART.exec(path)?.[1] ?? 1) === 1);
  const found = named === undefined ? first : matching(first, ggufs, named);
  if (found.length === 1) {
    const { path } = found[0]!;
    return { files: withParts(repository, ggufs, found[0]!), single: path };
  }
  const names = (found.length === 0 ? first : found).map(({ path }) => path);
  const listed =
    names.slice(0, LISTED).join(', ') + (names.length > LISTED ? ` and ${names.length - LISTED} more` : '');
  const details = { id, ...(named !== undefined && { named }), files: names };
  if (found.length === 0) {
    const others = names.length === 0 ? 'it has no GGUF files' : `it has ${listed}`;
    throw new PithError(
      'HUB_FILE_MISSING',
      `open ${id}: the repository must have the GGUF file ${JSON.stringify(named)}, ${others}; name one as ${id}:FILE`,
      { details },
    );
  }
  throw new PithError(
    'HUB_FILE_AMBIGUOUS',
    `open ${id}: one GGUF file must be named, ${found.length} ${named === undefined ? 'are there' : `match ${JSON.stringify(named)}`}: ` +
      `${listed}; name one as ${id}:FILE, or by its type as ${id}:Q4_K_M`,
    { details },
  );
}

/** Files of that path; else of that name; else with that type in the name. */
function matching(first: readonly HubFile[], all: readonly HubFile[], named: string): readonly HubFile[] {
  const exact = all.filter(({ path }) => path === named);
  if (exact.length > 0) return exact;
  const word = named.toLowerCase();
  return first.filter(({ path }) => {
    const stem = path
      .toLowerCase()
      .replace(PART, '')
      .replace(/\.gguf$/, '');
    const at = stem.lastIndexOf(word);
    if (at < 0) return false;
    const after = stem[at + word.length];
    return (at === 0 || /[-._/]/.test(stem[at - 1]!)) && (after === undefined || /[-.]/.test(after));
  });
}

function withParts({ id }: HubRepository, ggufs: readonly HubFile[], file: HubFile): readonly HubFile[] {
  const match = PART.exec(file.path);
  if (match === null) return [file];
  const stem = file.path.slice(0, match.index);
  const count = Number(match[2]);
  const parts = ggufs.filter(({ path }) => PART.exec(path)?.[2] === match[2] && path.replace(PART, '') === stem);
  if (parts.length === count) return parts;
  throw new PithError(
    'HUB_FILE_MISSING',
    `open ${id}: ${file.path} must have its ${count} parts in the repository, ${parts.length} are there; name another file`,
    { details: { id, file: file.path, parts: count, found: parts.length } },
  );
}
