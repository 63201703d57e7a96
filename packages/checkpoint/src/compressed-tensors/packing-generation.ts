// The two ways in which compressed-tensors has packed codes into 32-bit words.
//
// Since 0.18 a row is one bit stream, and codes of 3, 5, 6, 7 bits cross word borders (`dense`). Before, a word held
// floor(32 / bits) codes and its last bits were unused (`aligned`). For 2, 4 and 8 bits both are the same. Files do not
// say which one they have; the word count tells, and where it does not, `version` of the configuration does.
//
// Source: golden/compressed-tensors/packing (versions 0.14 and 0.19).
import { PithError } from '@pith/tensor-core';
import type { ModuleTensors } from './find-modules.ts';

/** How codes lie in words. */
export type PackingGeneration = 'dense' | 'aligned';

/** The first minor version of compressed-tensors 0.x that packs densely. */
const DENSE_SINCE = 18;

/** Words that `count` codes take. */
export function wordCount(generation: PackingGeneration, bits: number, count: number): number {
  return generation === 'dense' ? Math.ceil((count * bits) / 32) : Math.ceil(count / Math.floor(32 / bits));
}

/** The generations whose word counts fit the stored tensors, codes and packed zero points alike. */
export function packingGenerations(
  parts: Pick<ModuleTensors, 'codes' | 'zeroPoints'>,
  rows: number,
  columns: number,
  groups: number,
  bits: number,
  packedZeros: boolean,
): PackingGeneration[] {
  const zeroShape = packedZeros ? parts.zeroPoints?.shape : undefined;
  const fits = (generation: PackingGeneration): boolean => {
    if (parts.codes.shape[1] !== wordCount(generation, bits, columns)) return false;
    return zeroShape === undefined || zeroShape.join() === [wordCount(generation, bits, rows), groups].join();
  };
  if (32 % bits === 0) return fits('dense') ? ['dense'] : [];
  const fitting = (['dense', 'aligned'] as const).filter(fits);
  // Within one word the two agree: it makes no difference which one is taken.
  const perWord = Math.floor(32 / bits);
  const same = columns <= perWord && (zeroShape === undefined || rows <= perWord);
  return fitting.length === 2 && same ? ['dense'] : fitting;
}

/**
 * Picks the generation of a module: by its word counts, else by that of the other modules of the file (`evidence`),
 * else by the version.
 *
 * @throws PithError `CT_PACKING_AMBIGUOUS`.
 */
export function chooseGeneration(
  module: string,
  fitting: readonly PackingGeneration[],
  evidence: PackingGeneration | undefined,
  version: string | undefined,
): PackingGeneration {
  if (fitting.length === 1) return fitting[0]!;
  if (evidence !== undefined) return evidence;
  const minor = version === undefined ? undefined : /^0\.(\d{1,4})(?:\D|$)/.exec(version)?.[1];
  if (minor !== undefined) return Number(minor) >= DENSE_SINCE ? 'dense' : 'aligned';
  if (version !== undefined && /^[1-9]\d{0,3}\./.test(version)) return 'dense';
  throw new PithError(
    'CT_PACKING_AMBIGUOUS',
    `read compressed-tensors: the codes of ${JSON.stringify(module)} fit two packings and quantization_config has no ` +
      `version to tell them apart; set "version" to that of the compressed-tensors library that wrote the file`,
    { details: { module } },
  );
}
