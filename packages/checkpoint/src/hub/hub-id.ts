// Names of models on a hub: `org/name`, `org/name@revision`, `org/name:file`, `org/name@revision:file`.
//
// Nothing is looked up here. The rules are those of the hub: a name never has `--` or `..` in it, which lets the cache
// write `org/name` as `models--org--name`; a revision is a branch, a tag, a commit, or a ref such as `refs/pr/1`.

/** A model on a hub. */
export interface HubId {
  /** `org/name`. */
  readonly id: string;
  /** Branch, tag, commit or ref; `main` where none was named. */
  readonly revision: string;
  /** One file of the repository, or a part of a file's name such as `Q4_K_M`, where one was named. */
  readonly file?: string;
}

/** The revision of an id that names none. */
export const DEFAULT_REVISION = 'main';

const PART = /^[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?$/;
// What git allows in the name of a ref, less what a file system cannot hold: it becomes a path below `refs`.
const REF_PART = /^[A-Za-z0-9_][A-Za-z0-9_.+=#,-]*$/;

/**
 * The model that a text names; undefined where it does not have the form of a hub id.
 *
 * @example parseHubId('org/name@v2:model-Q4_K_M.gguf') // { id: 'org/name', revision: 'v2', file: 'model-Q4_K_M.gguf' }
 */
export function parseHubId(text: string): HubId | undefined {
  const match = /^([^/@:]+\/[^/@:]+)(?:@([^@:]+))?(?::(.+))?$/.exec(text);
  if (match === null) return undefined;
  const [, id, revision = DEFAULT_REVISION, file] = match;
  if (!isRepositoryId(id!) || !isRevision(revision)) return undefined;
  return { id: id!, revision, ...(file !== undefined && { file }) };
}

/** True for `org/name` by the rules of the hub. */
export function isRepositoryId(text: string): boolean {
  const parts = text.split('/');
  return parts.length === 2 && parts.every((part) => PART.test(part)) && !/--|\.\.|\.git$/.test(text);
}

/** True for what may name a revision. */
export function isRevision(text: string): boolean {
  const parts = text.split('/');
  return text.length <= 200 && parts.every((part) => REF_PART.test(part)) && !text.includes('..');
}

/** True for a commit: a revision that never changes. */
export function isCommit(revision: string): boolean {
  return /^[0-9a-f]{40}$/.test(revision);
}
