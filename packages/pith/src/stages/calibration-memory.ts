// How much of each walk over the blocks is in memory at once: batches and spilling, chosen so that a limit holds.
import {
  DEFAULT_CALIBRATION_SAMPLES,
  DEFAULT_CONTEXT,
  planCalibrationMemory,
  type CalibrationMemoryPlan,
  type PlannedModel,
} from '@pith/model';
import type { Recipe } from '../recipe/types.ts';
import { isCalibrated, type Phase } from './phases.ts';

/** Number and length of calibration windows. */
export interface WindowCount {
  readonly windows: number;
  readonly context: number;
}

/** What a recipe asks for, before the text is looked at. */
export function plannedWindows({ calibration }: Recipe, { architecture }: PlannedModel): WindowCount {
  const { maxPositions } = architecture.config;
  return {
    windows: calibration?.samples ?? DEFAULT_CALIBRATION_SAMPLES,
    context: calibration?.context ?? Math.min(DEFAULT_CONTEXT, maxPositions),
  };
}

/**
 * The memory of a walk over the blocks; null for other phases, and where nothing is looked at.
 *
 * @throws PithError `MEMORY_TOO_SMALL`.
 */
export function calibrationMemory(
  phase: Phase,
  model: PlannedModel,
  { calibration }: Recipe,
  count: WindowCount,
  limitBytes: number | undefined,
): CalibrationMemoryPlan | null {
  if (phase.kind === 'model') return null;
  const { architecture } = model;
  const passes = phase.steps.map(({ technique }) => technique.pass);
  const linears = architecture.blocks.flatMap((block) => block.linears);
  if (passes.every((pass) => !isCalibrated(pass, linears))) return null;
  const { order, inputs } = calibration ?? {};
  return planCalibrationMemory({
    architecture,
    ...count,
    passes,
    ...(order && { order }),
    ...(inputs && { inputs }),
    // Without a limit batches are as large as they are fast.
    limitBytes: limitBytes ?? Infinity,
  });
}
