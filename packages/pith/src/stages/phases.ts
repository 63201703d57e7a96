// Steps that run together: consecutive passes share one walk over the blocks, and with it one calibration; a transform
// stands alone. A model that another stage starts from or learns from ends a walk, so that it exists.
import type { BlockPass, LinearSpec } from '@pith/model';
import type { PassTechnique, Step, TransformTechnique } from './technique.ts';

/** One walk over the blocks. */
export interface BlockPhase {
  readonly kind: 'blocks';
  readonly from: string;
  readonly steps: readonly (Step & { readonly technique: PassTechnique })[];
}

/** One transform. */
export interface ModelPhase {
  readonly kind: 'model';
  readonly from: string;
  readonly steps: readonly [Step & { readonly technique: TransformTechnique }];
}

/** Steps that run together; the result is known by the id of the last. */
export type Phase = BlockPhase | ModelPhase;

/** The phases of steps, in order. */
export function phasesOf(steps: readonly Step[]): readonly Phase[] {
  const phases: Phase[] = [];
  for (const [index, step] of steps.entries()) {
    const before = phases.at(-1);
    if (step.technique.kind === 'transform') {
      phases.push({ kind: 'model', from: step.from, steps: [{ ...step, technique: step.technique }] });
    } else if (before?.kind === 'blocks' && follows(step, steps[index - 1]!, steps)) {
      phases[phases.length - 1] = { ...before, steps: [...before.steps, { ...step, technique: step.technique }] };
    } else {
      phases.push({ kind: 'blocks', from: step.from, steps: [{ ...step, technique: step.technique }] });
    }
  }
  return phases;
}

/** True where `step` is the only one that uses the model of `before`. */
function follows(step: Step, before: Step, steps: readonly Step[]): boolean {
  const users = steps.filter(({ from, teachers }) => from === before.id || teachers.includes(before.id));
  return step.from === before.id && users.length === 1;
}

/** The id by which the model of a phase is known. */
export function resultOf(phase: Phase): string {
  return phase.steps.at(-1)!.id;
}

/** True where a phase looks at windows of a text. */
export function needsWindows(phase: Phase, linears: readonly LinearSpec[]): boolean {
  if (phase.kind === 'model') return phase.steps[0].technique.transform.calibrated;
  return phase.steps.some(({ technique }) => isCalibrated(technique.pass, linears));
}

/** True where a pass looks at what goes through these linears. */
export function isCalibrated(pass: BlockPass, linears: readonly LinearSpec[]): boolean {
  if (pass.keyValues !== undefined) return true;
  return linears.some((linear) => pass.needs(linear).length + (pass.needsGradients?.(linear).length ?? 0) > 0);
}
