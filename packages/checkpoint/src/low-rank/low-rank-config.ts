// `pith_low_rank` of config.json: which linear modules are stored as two, and with how many features between them. See
// docs/formats/low-rank.md.
import { factorNames, PithError, validate } from '@pith/tensor-core';
import { z } from 'zod';
import type { JsonValue } from '../json/parse-json.ts';

/** Member of config.json. */
export const LOW_RANK_KEY = 'pith_low_rank';

/** Longest module path. */
const MOST_PATH = 1024;
/** Most modules: what config.json may weigh allows more, no model has as many. */
const MOST_MODULES = 2 ** 20;

const schema = z.strictObject({
  version: z.literal(1),
  modules: z
    .record(
      z.string().min(1).max(MOST_PATH),
      z
        .int()
        .min(1)
        .max(2 ** 31),
    )
    .refine((modules) => Object.keys(modules).length <= MOST_MODULES, { error: `at most ${MOST_MODULES} modules` }),
});

/** The entry as Pith writes it. */
export interface LowRankConfig {
  /** Of the format. */
  readonly version: 1;
  /** Rank by module path. */
  readonly modules: Readonly<Record<string, number>>;
}

/** A weight as the entry needs it. */
export interface LowRankShape {
  /** Name of the dense form. */
  readonly name: string;
  /** Features between the two linears; absent for a weight that is not factored. */
  readonly rank?: number;
}

/**
 * The entry for these weights, undefined where none is factored.
 *
 * @throws PithError `LOW_RANK_NAME` for a factored weight that no module's name belongs to.
 */
export function lowRankConfig(weights: Iterable<LowRankShape>): LowRankConfig | undefined {
  const ranks = [...weights].flatMap(({ name, rank }) => (rank === undefined ? [] : [[moduleOf(name), rank] as const]));
  return ranks.length === 0 ? undefined : { version: 1, modules: Object.fromEntries(ranks) };
}

function moduleOf(name: string): string {
  if (name.endsWith('.weight')) return name.slice(0, -'.weight'.length);
  throw new PithError(
    'LOW_RANK_NAME',
    `store low-rank weight: its name must end in ".weight", got ${JSON.stringify(name)}; restore it to dense`,
    { details: { tensor: name } },
  );
}

/** A module of the entry. */
export interface LowRankModule {
  /** Name of the dense weight that it stands for. */
  readonly name: string;
  /** Names of the factors' weights. */
  readonly left: string;
  /** See `left`. */
  readonly right: string;
  /** Features between the two. */
  readonly rank: number;
}

/**
 * Reads the entry of a config.json; `file` names it in errors.
 *
 * @throws PithError `LOW_RANK_CONFIG_INVALID` naming every offending member.
 */
export function readLowRankConfig(value: JsonValue, file: string): LowRankModule[] {
  const { modules } = validate(schema, value, {
    operation: `read ${LOW_RANK_KEY} of ${file}`,
    code: 'LOW_RANK_CONFIG_INVALID',
  });
  return Object.entries(modules).map(([path, rank]) => {
    const name = `${path}.weight`;
    return { name, ...factorNames(name), rank };
  });
}
