// Where the hub, its cache and the token are, by the variables that all tools of Hugging Face read:
// https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables
//
// The environment is handed in: only programs read their own.
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { PithError } from '@pith/tensor-core';
import { DEFAULT_ENDPOINT } from '../../hub/hub-client.ts';

/** How the hub is reached and where its files are kept. */
export interface HubSettings {
  /** Address of the hub. */
  readonly endpoint: string;
  /** Directory of the cache: holds `models--org--name`. */
  readonly cacheDirectory: string;
  /** Access token, where there is one. */
  readonly token?: string;
  /** True when the cache alone may be used. */
  readonly offline: boolean;
}

const TRUE = new Set(['1', 'ON', 'YES', 'TRUE']);

/**
 * Reads `HF_ENDPOINT`; `HF_HUB_CACHE` (or `HUGGINGFACE_HUB_CACHE`), `HF_HOME`, `XDG_CACHE_HOME`; `HF_TOKEN` (or
 * `HUGGING_FACE_HUB_TOKEN`), the file `HF_TOKEN_PATH` and that of a login, `$HF_HOME/token`; `HF_HUB_OFFLINE` (or
 * `TRANSFORMERS_OFFLINE`); `HF_HUB_DISABLE_IMPLICIT_TOKEN`, with which the file is passed over.
 *
 * @throws PithError `HUB_TOKEN_UNREADABLE` when the token file is there and cannot be read.
 */
export async function readHubSettings(environment: Readonly<Record<string, string | undefined>>): Promise<HubSettings> {
  const value = (...names: string[]): string | undefined => {
    for (const name of names) if (environment[name]?.trim()) return environment[name]!.trim();
    return undefined;
  };
  const flag = (...names: string[]): boolean => TRUE.has(value(...names)?.toUpperCase() ?? '');
  const cache = value('XDG_CACHE_HOME') ?? join(homedir(), '.cache');
  const home = expand(value('HF_HOME') ?? join(cache, 'huggingface'));
  const tokenFile = expand(value('HF_TOKEN_PATH') ?? join(home, 'token'));
  const token =
    value('HF_TOKEN', 'HUGGING_FACE_HUB_TOKEN') ??
    (flag('HF_HUB_DISABLE_IMPLICIT_TOKEN') ? undefined : await readToken(tokenFile));
  return Object.freeze({
    endpoint: value('HF_ENDPOINT') ?? DEFAULT_ENDPOINT,
    cacheDirectory: expand(value('HF_HUB_CACHE', 'HUGGINGFACE_HUB_CACHE') ?? join(home, 'hub')),
    offline: flag('HF_HUB_OFFLINE', 'TRANSFORMERS_OFFLINE'),
    ...(token !== undefined && { token }),
  });
}

/** A path that may begin with `~`, as an absolute one. */
function expand(path: string): string {
  return resolve(path === '~' || path.startsWith('~/') ? join(homedir(), path.slice(1)) : path);
}

async function readToken(path: string): Promise<string | undefined> {
  try {
    return (await readFile(path, 'utf8')).trim() || undefined;
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new PithError(
      'HUB_TOKEN_UNREADABLE',
      `open hub: the token file ${path} must be readable, it is not (${code}); mend its permissions, set HF_TOKEN, or set ` +
        'HF_HUB_DISABLE_IMPLICIT_TOKEN=1 to do without',
      { details: { path, systemCode: code }, cause },
    );
  }
}
