// Pairs of blocks.
import type { LayerMap } from './loss-term.ts';

/** A pair of blocks, counted from 0. */
export type LayerPair = readonly [student: number, teacher: number];

/**
 * The pairs of a map. `uniform`: block i of S learns from block `floor((i + 1) T / S) - 1` of T, so that the last learns
 * from the last (Jiao et al. 2020).
 */
export function layerPairs(map: LayerMap, studentLayers: number, teacherLayers: number): LayerPair[] {
  if (map === 'last') return [[studentLayers - 1, teacherLayers - 1]];
  if (map !== 'uniform') return map.map(([student, teacher]) => [student, teacher]);
  return Array.from({ length: studentLayers }, (_, i): LayerPair => [
    i,
    Math.max(0, Math.floor(((i + 1) * teacherLayers) / studentLayers) - 1),
  ]);
}

/** What is wrong with a map for these models. */
export function layerMapProblems(map: LayerMap, studentLayers: number, teacherLayers: number): string[] {
  return layerPairs(map, studentLayers, teacherLayers).flatMap(([student, teacher]) =>
    student < studentLayers && teacher < teacherLayers
      ? []
      : [
          `blocks must be below ${studentLayers} (student) and ${teacherLayers} (teacher), got the pair ${student}-${teacher}`,
        ],
  );
}
