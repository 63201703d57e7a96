// From a list of terms to one function that the trainer differentiates.
import { crossEntropy, softTargetLoss, topTargetLoss } from '@pith/model';
import type { Architecture, CausalStates, LossTerms, TopTargets } from '@pith/model';
import { PithError, randomStream } from '@pith/tensor-core';
import type { HostTensor } from '@pith/tensor-core';
import * as tf from '@tensorflow/tfjs-core';
import type { Scalar, Tensor, Tensor2D, Tensor3D } from '@tensorflow/tfjs-core';
import { attentionMapLoss, mostRelationHeads, relationHeadsFit, relationLoss } from './attention.ts';
import { hiddenLoss } from './hidden.ts';
import { layerMapProblems, layerPairs } from './layer-map.ts';
import { weightAt, type HiddenTerm, type LossTerm } from './loss-term.ts';

/** What a teacher shows for one batch. */
export interface TeacherView {
  /** Logits at a temperature, f32 [batch, tokens, vocabulary]; those of several teachers together may depend on it. */
  readonly logits?: (temperature: number) => Tensor3D;
  /** States of the main teacher. */
  readonly states?: CausalStates;
  /** Its most likely tokens, where these were kept instead of its logits. */
  readonly top?: TopTargets;
}

/** What a student shows for one batch. */
export interface StudentView {
  /** Its states. */
  readonly states: CausalStates;
  /** The tokens that come next, int32 [batch, tokens]. */
  readonly targets: Tensor2D;
}

/** A loss ready for the trainer. */
export interface BuiltLoss {
  /** Projections that are learnt with the student, by name. */
  readonly parameters: Readonly<Record<string, HostTensor<'f32'>>>;
  /** Weights that change, by the names that `compute` reads them under. */
  numbers(step: number): Readonly<Record<string, number>>;
  /** The loss of a batch. `tensors` holds the projections, `batch` the weights of the step. */
  compute(
    student: StudentView,
    teacher: TeacherView,
    tensors: Readonly<Record<string, Tensor>>,
    batch: Readonly<Record<string, Tensor>>,
  ): LossTerms;
}

/** Names of the terms in reports. */
const LABELS = { forward: 'kl', reverse: 'reverse-kl', 'jensen-shannon': 'js' } as const;

function labelsOf(terms: readonly LossTerm[]): string[] {
  const names = terms.map((term) => (term.kind === 'soft' ? LABELS[term.divergence] : term.kind));
  return names.map((name, i) => (names.indexOf(name) === names.lastIndexOf(name) ? name : `${name}-${i}`));
}

const projectionName = (term: number, student: number, teacher: number): string =>
  `distill.projection.${term}.${student}-${teacher}`;

/** Terms that need more of a teacher than its logits. */
export const needsStates = (terms: readonly LossTerm[]): boolean =>
  terms.some(({ kind }) => kind === 'hidden' || kind === 'attention' || kind === 'relations');

/** What of a loss does not fit these two models. */
export function lossProblems(terms: readonly LossTerm[], student: Architecture, teacher: Architecture): string[] {
  const models = [student.config, teacher.config];
  return terms.flatMap((term): string[] => {
    if (term.kind === 'soft' || term.kind === 'hard') return [];
    const problems = layerMapProblems(term.layers, student.config.layers, teacher.config.layers);
    if (term.kind === 'attention' && student.config.heads !== teacher.config.heads) {
      problems.push(
        `attention maps need as many heads in both, got ${student.config.heads} and ${teacher.config.heads}; ` +
          'transfer relations instead',
      );
    }
    if (term.kind === 'relations' && term.heads !== null && !relationHeadsFit(term.pairs, term.heads, models)) {
      problems.push(
        `relation heads must divide the width of queries, keys and values of both models, got ${term.heads}; ` +
          `${mostRelationHeads(term.pairs, models)} do`,
      );
    }
    return problems.map((problem) => `${term.kind}: ${problem}`);
  });
}

/**
 * Makes a loss of terms for a student and a teacher; the teacher's table is needed for terms on states alone.
 *
 * Projections start as normal numbers that keep the size of what they project.
 *
 * @throws PithError `DISTILL_LOSS_INVALID` with everything that does not fit the two models.
 */
export function buildLoss(
  terms: readonly LossTerm[],
  options: {
    readonly student: Architecture;
    readonly teacher: Architecture;
    readonly steps: number;
    readonly seed: number;
  },
): BuiltLoss {
  const { student, teacher, steps, seed } = options;
  const problems = lossProblems(terms, student, teacher);
  if (problems.length > 0) {
    throw new PithError('DISTILL_LOSS_INVALID', `distillation loss: ${problems.join('; ')}`, { details: { problems } });
  }
  const labels = labelsOf(terms);
  const changing = terms.map(({ weight }, i) => ({ weight, name: `weight:${labels[i]!}` }));
  const pairsOf = (term: Exclude<LossTerm, { kind: 'soft' | 'hard' }>) =>
    layerPairs(term.layers, student.config.layers, teacher.config.layers);
  return {
    parameters: projections(terms, pairsOf, student.config.hiddenSize, teacher.config.hiddenSize, seed),
    numbers: (step) =>
      Object.fromEntries(
        changing
          .filter(({ weight }) => weight.curve !== 'constant')
          .map(({ weight, name }) => [name, weightAt(weight, step, steps)]),
      ),
    compute: (studentView, teacherView, tensors, batch) => {
      const values = terms.map((term, i) => {
        if (term.kind === 'soft') return softLoss(term.temperature, term.divergence, studentView, teacherView);
        if (term.kind === 'hard') return crossEntropy(studentView.states.logits, studentView.targets);
        const target = teacherView.states!;
        const own = studentView.states;
        const losses = pairsOf(term).map(([s, t]): Scalar => {
          switch (term.kind) {
            case 'hidden': {
              const projection = tensors[projectionName(i, s, t)] as Tensor2D | undefined;
              // Depth 0 is the embedding.
              return hiddenLoss(own.hidden[s + 1]!, target.hidden[t + 1]!, term.measure, projection);
            }
            case 'attention':
              return attentionMapLoss(own.attention[s]!, target.attention[t]!, term.measure);
            case 'relations': {
              const heads = term.heads ?? mostRelationHeads(term.pairs, [student.config, teacher.config]);
              return relationLoss(own.attention[s]!, target.attention[t]!, term.pairs, heads);
            }
          }
        });
        return tf.div(tf.addN(losses), losses.length) as Scalar;
      });
      const weighted = values.map((value, i) => {
        const { weight, name } = changing[i]!;
        return tf.mul(value, weight.curve === 'constant' ? weight.from : batch[name]!);
      });
      return {
        loss: (weighted.length === 1 ? weighted[0]! : tf.addN(weighted)) as Scalar,
        terms: Object.fromEntries(values.map((value, i) => [labels[i]!, value])),
      };
    },
  };
}

function softLoss(
  temperature: number,
  divergence: 'forward' | 'reverse' | 'jensen-shannon',
  { states }: StudentView,
  teacher: TeacherView,
): Scalar {
  if (teacher.top) return topTargetLoss(states.logits, teacher.top, temperature);
  return softTargetLoss(states.logits, teacher.logits!(temperature), { divergence, temperature });
}

function projections(
  terms: readonly LossTerm[],
  pairsOf: (term: HiddenTerm) => readonly (readonly [number, number])[],
  studentHidden: number,
  teacherHidden: number,
  seed: number,
): Record<string, HostTensor<'f32'>> {
  const parameters: Record<string, HostTensor<'f32'>> = {};
  terms.forEach((term, i) => {
    if (term.kind !== 'hidden' || !(term.project || studentHidden !== teacherHidden)) return;
    for (const [s, t] of pairsOf(term)) {
      const name = projectionName(i, s, t);
      const random = randomStream(seed, `initial ${name}`);
      const deviation = 1 / Math.sqrt(studentHidden);
      const data = Float32Array.from({ length: teacherHidden * studentHidden }, () => deviation * random.normal());
      parameters[name] = { dtype: 'f32', shape: [teacherHidden, studentHidden], data };
    }
  });
  return parameters;
}
