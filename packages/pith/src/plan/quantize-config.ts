// The options of quantize, checked once and filled up with defaults.
import { availableParallelism } from 'node:os';
import { WEIGHT_FORMATS } from '@pith/checkpoint';
import { nearestWord, PithError, validationProblems } from '@pith/tensor-core';
import { z } from 'zod';
import { METHODS_BY_KIND } from '../recipe/method-schemas.ts';
import type { QuantizeOptions } from './types.ts';

/** Methods of this version. */
export const METHODS = METHODS_BY_KIND.quantize.map(({ shape }) => shape.method.value);
/** Formats of artefacts of this version. */
export const FORMATS = WEIGHT_FORMATS;
/** Scheme where none is named. */
const DEFAULT_SCHEME = 'w4g128';
/** The scheme where none is named; undefined where the method has one of its own. */
export function defaultScheme(method: string): string | undefined {
  // It needs zero points, and groups of 64 are what its authors take.
  if (method === 'hqq') return 'w4g64-asym';
  return method === 'smoothquant' || method === 'kv-cache' ? undefined : DEFAULT_SCHEME;
}
/** Default of `shardBytes`: what transformers writes too. */
export const DEFAULT_SHARD_BYTES = 5_000_000_000;

const Options = z.strictObject({
  method: z.string().default('rtn'),
  scheme: z.string().default(DEFAULT_SCHEME),
  schemeFor: z.record(z.string().min(1).max(512), z.string().max(100)).default({}),
  range: z.string().default('minmax'),
  scaleDType: z.string().exactOptional(),
  include: z.array(z.string()).default([]),
  ignore: z.array(z.string()).default([]),
  generic: z.boolean().default(false),
  format: z.string().default('compressed-tensors'),
  shardBytes: z.int().positive().default(DEFAULT_SHARD_BYTES),
  seed: z.int().nonnegative().default(0),
  memoryBytes: z.int().positive().exactOptional(),
  threads: z.int().min(1).max(256).exactOptional(),
});

/** Options with every default filled in; frozen. Those that the bytes depend on apart from those they do not. */
export interface QuantizeConfig {
  readonly method: string;
  readonly scheme: string;
  readonly schemeFor: Readonly<Record<string, string>>;
  readonly range: string;
  readonly scaleDType: 'f16' | 'bf16' | 'f32' | undefined;
  readonly include: readonly string[];
  readonly ignore: readonly string[];
  readonly generic: boolean;
  readonly format: string;
  readonly shardBytes: number;
  readonly seed: number;
  /** Not part of the plan's hash. */
  readonly memoryBytes: number | undefined;
  /** Not part of the plan's hash. */
  readonly threads: number;
}

/**
 * Checks options and fills in the defaults.
 *
 * @throws PithError `OPTIONS_INVALID` with every offending field.
 */
export function quantizeConfig(given: QuantizeOptions): QuantizeConfig {
  const parsed = Options.safeParse(given, { reportInput: true });
  if (!parsed.success) {
    const found = validationProblems(parsed.error, Options);
    throw invalid(found.map(({ path, message }) => (path === '' ? message : `${path}: ${message}`)));
  }
  const { data } = parsed;
  const problems: string[] = [];
  const method = oneOf('method', data.method, METHODS, problems);
  const format = oneOf('format', data.format, FORMATS, problems);
  const scaleDType =
    data.scaleDType === undefined ? undefined : oneOf('scaleDType', data.scaleDType, ['f16', 'bf16', 'f32'], problems);
  if (problems.length > 0) throw invalid(problems);
  return Object.freeze({
    ...data,
    method: method!,
    format: format!,
    scaleDType,
    schemeFor: Object.freeze(data.schemeFor),
    include: Object.freeze(data.include),
    ignore: Object.freeze(data.ignore),
    memoryBytes: data.memoryBytes,
    threads: data.threads ?? availableParallelism(),
  });
}

/** @throws PithError `OPTIONS_INVALID` for a method that there is not, or a format that cannot be written, whatever its variant. */
export function requireKnown({ method, format }: Pick<QuantizeOptions, 'method' | 'format'>): void {
  const problems: string[] = [];
  if (method !== undefined) oneOf('method', method, METHODS, problems);
  if (format !== undefined) oneOf('format', format.split(':')[0]!, FORMATS, problems);
  if (problems.length > 0) throw invalid(problems);
}

function oneOf<T extends string>(
  option: string,
  value: string,
  known: readonly T[],
  problems: string[],
): T | undefined {
  const found = known.find((candidate) => candidate === value);
  if (found !== undefined) return found;
  const near = nearestWord(value, known);
  problems.push(
    `${option}: must be one of ${known.join(', ')}, got "${value.slice(0, 60)}"` +
      (near === undefined ? '' : `; did you mean ${near}?`),
  );
  return undefined;
}

function invalid(problems: readonly string[]): PithError {
  return new PithError('OPTIONS_INVALID', `options: ${problems.join('; ')}; correct these options`, {
    details: { problems },
  });
}
