// The two ways in which compressed-tensors has packed codes into 32-bit words.
//
// Since 0.18 a row is one bit stream, and codes of 3, 5, 6, 7 bits cross word borders (`stream`). Before, a word held
// floor(32 / bits) codes and its last bits were unused (`aligned`). For 2, 4 and 8 bits both are the same. Files do not
// say which one they have; the word count tells, and where it does not, `version` of the configuration does.
//
// Source: golden/compressed-tensors/packing (versions 0.14 and 0.19).
import { packedWords, PithError, type PackedLayout } from '@pith/tensor-core';
import type { ModuleTensors } from './find-modules.ts';

/** The first minor version of compressed-tensors 0.x that packs streams. */
const STREAM_SINCE = 18;

/** The layouts whose word counts fit the stored tensors, codes and packed zero points alike. */
export function packedLayouts(
  parts: Pick<ModuleTensors, 'codes' | 'zeroPoints'>,
  rows: number,
  columns: number,
  groups: number,
  bits: number,
  packedZeros: boolean,
): PackedLayout[] {
  const zeroShape = packedZeros ? parts.zeroPoints?.shape : undefined;
  const fits = (layout: PackedLayout): boolean => {
    if (parts.codes.shape[1] !== packedWords(bits, columns, layout)) return false;
    return zeroShape === undefined || zeroShape.join() === [packedWords(bits, rows, layout), groups].join();
  };
  if (32 % bits === 0) return fits('stream') ? ['stream'] : [];
  const fitting = (['stream', 'aligned'] as const).filter(fits);
  // Within one word the two agree: it makes no difference which one is taken.
  const perWord = Math.floor(32 / bits);
  const same = columns <= perWord && (zeroShape === undefined || rows <= perWord);
  return fitting.length === 2 && same ? ['stream'] : fitting;
}

/**
 * Picks the layout of a module: by its word counts, else by that of the other modules of the file (`evidence`),
 * else by the version.
 *
 * @throws PithError `CT_PACKING_AMBIGUOUS`.
 */
export function chooseLayout(
  module: string,
  fitting: readonly PackedLayout[],
  evidence: PackedLayout | undefined,
  version: string | undefined,
): PackedLayout {
  if (fitting.length === 1) return fitting[0]!;
  if (evidence !== undefined) return evidence;
  const minor = version === undefined ? undefined : /^0\.(\d{1,4})(?:\D|$)/.exec(version)?.[1];
  if (minor !== undefined) return Number(minor) >= STREAM_SINCE ? 'stream' : 'aligned';
  if (version !== undefined && /^[1-9]\d{0,3}\./.test(version)) return 'stream';
  throw new PithError(
    'CT_PACKING_AMBIGUOUS',
    `read compressed-tensors: the codes of ${JSON.stringify(module)} fit two packings and quantization_config has no ` +
      `version to tell them apart; set "version" to that of the compressed-tensors library that wrote the file`,
    { details: { module } },
  );
}
