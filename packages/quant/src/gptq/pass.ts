// GPTQ as a pass over the blocks: one factorization for all linears that share an input, one sweep for each of them.
import {
  congruence,
  factoredWeight,
  PithError,
  quantizedByteLength,
  sweepFactor,
  type ColumnRounding,
  type DenseWeight,
  type QuantizedWeight,
  type WeightTensor,
} from '@pith/tensor-core';
import { linearSelector } from '@pith/model';
import type { BlockPass, InputStatistics, Intervention, PassContext, WeightChange } from '@pith/model';
import { activationNeeds, activationQuantization } from '../pass/input-scale.ts';
import { schemeOfLinears, selectionOf } from '../pass/pass-options.ts';
import { planRounding } from '../pass/plan-rounding.ts';
import { requireRoundable, scaleDTypeOf, withActivations } from '../pass/round-weight.ts';
import { gptqConfig, type GptqConfig, type GptqOptions } from './gptq-config.ts';
import { roundingOf } from './gptq-rounding.ts';
import { fallingOrder, gptqSolve, type FactoredInput, type GptqSolution } from './solve.ts';

type Facts = Readonly<Record<string, unknown>>;

/**
 * GPTQ of the linears of all blocks, dense ones and the factors of factored ones (the right factor with the Gram matrix G of
 * the input, the left one with that of what the quantized right factor makes of it).
 *
 * Records per tensor: `damping` used, `outputError` (squared error of the outputs per token), `signalToNoise` of the weights
 * in dB, `deadColumns`. Interventions: `DEAD_COLUMNS`, `RETRIED_IN_F64`, `DAMPING_RAISED`.
 *
 * Linears of a stage are solved from the same Gram matrices; for true sequential order run the blocks with
 * `order: 'groups'`.
 *
 * @throws PithError `CONFIG_INVALID` with every offending option.
 */
export function gptqPass(given: GptqOptions): BlockPass {
  const config = gptqConfig(given);
  const { scheme } = config;
  const selected = linearSelector(selectionOf(config));
  const schemeOf = schemeOfLinears(config);
  return {
    name: 'gptq',
    config: { ...config },
    plan: (model) => {
      const { changes, problems, notices } = planRounding(model, config, `gptq, ${scheme.name}`);
      const { actOrder } = config;
      return { changes: changes.map((change) => withGroupIndex(change, actOrder)), problems, notices };
    },
    needs: (linear) => (selected(linear) ? ['gram', ...activationNeeds(schemeOf(linear))] : []),
    apply: async (stage, context) => {
      const weights = new Map<string, WeightTensor>();
      const records: Record<string, Facts> = {};
      const interventions: Intervention[] = [];
      const linears = stage.linears.filter(selected);
      for (const group of new Set(linears.map(({ inputGroup }) => inputGroup))) {
        const statistics = stage.statistics.get(group);
        const gram = requireGram(group, statistics);
        const input = await factorInput(gram, statistics!, group, config, context);
        interventions.push(...interventionsOf(input, group));
        for (const linear of linears.filter(({ inputGroup }) => inputGroup === group)) {
          const { name, path } = linear;
          const own = schemeOf(linear);
          const weight = requireRoundable(name, stage.weights.get(name));
          const activations = activationQuantization(own, scaleDTypeOf(weight, own), statistics);
          const solver = new Solver(config, roundingOf({ ...config, scheme: own }), context, interventions);
          if (weight.kind === 'dense') {
            const solution = await solver.solve(weight, input);
            weights.set(name, withActivations(solution.weight, activations));
            records[name] = { ...facts(solution, input), ...(activations && { activations }) };
          } else {
            const right = await solver.solve(weight.right, input);
            const between = await solver.inputBehind(right.weight, gram, input.tokens, `the left factor of ${path}`);
            const left = await solver.solve(weight.left, between);
            const [quantizedLeft, quantizedRight] = [left.weight, right.weight].map((one) =>
              withActivations(one, activations),
            );
            weights.set(name, factoredWeight({ name, left: quantizedLeft!, right: quantizedRight! }));
            records[name] = {
              left: facts(left, between),
              right: facts(right, input),
              ...(activations && { activations }),
            };
          }
        }
      }
      return { weights, records, interventions };
    },
  };
}

class Solver {
  readonly #config: GptqConfig;
  readonly #rounding: ColumnRounding;
  readonly #context: PassContext;
  readonly #interventions: Intervention[];

  constructor(config: GptqConfig, rounding: ColumnRounding, context: PassContext, interventions: Intervention[]) {
    this.#config = config;
    this.#rounding = rounding;
    this.#context = context;
    this.#interventions = interventions;
  }

  async solve(weight: DenseWeight, input: FactoredInput): Promise<GptqSolution> {
    const { name, dtype, shape } = weight;
    const [rows = 0, columns = 0] = shape;
    return gptqSolve(
      { name, dtype, rows, columns, values: await weight.toF32() },
      input,
      this.#rounding,
      this.#context,
    );
  }

  /** The Gram matrix of what a matrix makes of inputs: right G rightᵀ, factored. */
  async inputBehind(right: QuantizedWeight, gram: Float64Array, tokens: number, label: string): Promise<FactoredInput> {
    const [rank = 0, columns = 0] = right.shape;
    const behind = await congruence(await right.toF32(), gram, rank, columns, this.#context.device);
    const input = await factorInput(behind, { tokens, inFeatures: rank }, label, this.#config, this.#context);
    this.#interventions.push(...interventionsOf(input, label));
    return input;
  }
}

async function factorInput(
  gram: Float64Array,
  { tokens, inFeatures }: Pick<InputStatistics, 'tokens' | 'inFeatures'>,
  label: string,
  { damping, actOrder }: GptqConfig,
  { device, signal }: PassContext,
): Promise<FactoredInput> {
  const diagonal = Float64Array.from({ length: inFeatures }, (_, i) => gram[i * (inFeatures + 1)]!);
  const order = actOrder === 'none' ? undefined : fallingOrder(diagonal);
  const options = { damping, label, ...(order && { order }), ...(signal && { signal }) };
  return { ...(await sweepFactor(gram, inFeatures, device, options)), diagonal, tokens, ...(order && { order }) };
}

function facts({ outputError, signalToNoise }: GptqSolution, input: FactoredInput): Facts {
  return {
    damping: input.damping,
    outputError,
    // JSON has no Infinity: nothing differs.
    signalToNoise: Number.isFinite(signalToNoise) ? signalToNoise : null,
    deadColumns: input.deadColumns.length,
  };
}

/** Columns that are named in a message or in details. */
const NAMED_COLUMNS = 20;

function interventionsOf(
  { deadColumns, diagonal, failures, damping, dtype }: FactoredInput,
  where: string,
): Intervention[] {
  const found: Intervention[] = [];
  if (deadColumns.length > 0) {
    const all = deadColumns.length === diagonal.length;
    const become = all ? 'no weight speaks for another, they are rounded to nearest' : 'their weights become zero';
    found.push({
      code: 'DEAD_COLUMNS',
      where,
      message: `${all ? 'all' : deadColumns.length} columns of the input are zero for every calibration token: ${become}`,
      details: { count: deadColumns.length, columns: deadColumns.slice(0, NAMED_COLUMNS) },
    });
  }
  const [first] = failures;
  if (first && dtype === 'f64') {
    found.push({
      code: 'RETRIED_IN_F64',
      where,
      message: `the factorization in f32 lost column ${first.position} of the sweep in rounding and was done in f64`,
      details: { position: first.position, pivot: first.pivot },
    });
  }
  if (first && first.damping !== damping) {
    found.push({
      code: 'DAMPING_RAISED',
      where,
      message: `damping was raised from ${first.damping} to ${damping} of the mean of the diagonal: the Gram matrix is singular`,
      details: { from: first.damping, to: damping, failures },
    });
  }
  return found;
}

function requireGram(group: string, statistics: InputStatistics | undefined): Float64Array {
  if (statistics?.gram) return statistics.gram;
  throw new PithError('STATISTIC_MISSING', `gptq: the Gram matrix of ${group} is needed, got none`, {
    kind: 'internal',
    details: { group },
  });
}

/** Adds the bytes of the group index that `actOrder: 'group'` stores where there are several groups. */
function withGroupIndex(change: WeightChange, actOrder: GptqConfig['actOrder']): WeightChange {
  const { after } = change;
  const granularity = after?.scheme?.granularity;
  if (actOrder !== 'group' || granularity?.kind !== 'group' || after?.scheme === undefined) return change;
  const [rows = 0, columns = 0] = after.shape;
  const coding = after.scheme;
  const indexed = (r: number, c: number) =>
    c > granularity.size ? quantizedByteLength(coding, r, c, true) - quantizedByteLength(coding, r, c, false) : 0;
  const { rank } = after;
  const added = rank === undefined ? indexed(rows, columns) : indexed(rows, rank) + indexed(rank, columns);
  if (added === 0) return change;
  return { ...change, after: { ...after, grouped: true, byteLength: after.byteLength + added } };
}
