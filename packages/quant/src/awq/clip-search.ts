// The search for clipping (Lin et al. 2023, section 5.1 and the authors' code): the range of each group is shrunk by the
// factor with which the group's part of the outputs differs least. Parts are taken one by one, through the blocks of the
// Gram matrix along its diagonal; with one scale per channel that is the whole output.
//
// Deviation: the authors' code clamps at a share of the largest magnitude; here both ends of the range shrink alike, as in
// the range search of rounding to nearest.
import { throwIfStopped } from '@pith/tensor-core';
import type { ErrorPrograms } from './error-programs.ts';

/** Shrink factors that are tried. */
export interface ClipGrid {
  /** How many, 1 included. */
  readonly candidates: number;
  /** Lower end of the grid, not itself tried. */
  readonly smallest: number;
}

/** `1 - i (1 - smallest) / candidates`, from 1 down. */
export function clipFactors({ candidates, smallest }: ClipGrid): number[] {
  return Array.from({ length: candidates }, (_, i) => 1 - (i * (1 - smallest)) / candidates);
}

/** What the search takes. */
export interface ClipSearch {
  /** f32 [rows, columns], as they are rounded: scaled. */
  readonly weights: Float32Array;
  readonly columns: number;
  readonly groupSize: number;
  /** f32 [groups, groupSize, groupSize]: of the inputs as they are multiplied, divided by the scales. */
  readonly blocks: Float32Array;
  readonly grid: ClipGrid;
  readonly programs: ErrorPrograms;
  readonly signal?: AbortSignal;
}

/** What clipping makes of weights. */
export interface Clipped {
  /** f32 [rows, columns]: values beyond the range of their group are set to its ends. */
  readonly weights: Float32Array;
  /** Share of groups whose range shrank, 0 to 1. */
  readonly clippedGroups: number;
  /** Mean of the chosen factors. */
  readonly meanFactor: number;
}

/** Shrinks the range of each group; the widest of equals. */
export async function searchClipping(search: ClipSearch): Promise<Clipped> {
  const { weights, groupSize, blocks, grid, programs, signal } = search;
  const groups = weights.length / groupSize;
  const best = new Float32Array(groups).fill(1);
  const least = new Float32Array(groups).fill(Infinity);
  for (const factor of clipFactors(grid)) {
    throwIfStopped(signal, 'clipping search');
    const errors = await programs.shrunkErrors(weights, factor, blocks);
    for (let group = 0; group < groups; group++) {
      if (errors[group]! >= least[group]!) continue;
      least[group] = errors[group]!;
      best[group] = factor;
    }
  }
  let clipped = 0;
  let sum = 0;
  const result = weights.slice();
  for (let group = 0; group < groups; group++) {
    const factor = best[group]!;
    sum += factor;
    if (factor === 1) continue;
    clipped += 1;
    clamp(result.subarray(group * groupSize, (group + 1) * groupSize), factor, programs.symmetric);
  }
  return { weights: result, clippedGroups: clipped / groups, meanFactor: sum / groups };
}

/** Sets values beyond `factor` times the range to its ends. The range contains 0. */
function clamp(values: Float32Array, factor: number, symmetric: boolean): void {
  let lowest = 0;
  let highest = 0;
  for (const value of values) {
    lowest = Math.min(lowest, value);
    highest = Math.max(highest, value);
  }
  if (symmetric) {
    highest = Math.max(-lowest, highest);
    lowest = -highest;
  }
  for (let i = 0; i < values.length; i++) values[i] = Math.min(Math.max(values[i]!, lowest * factor), highest * factor);
}
