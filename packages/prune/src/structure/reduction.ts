// From what is asked for to numbers of a model: how many layers, neurons and groups go and stay, and what of that is
// impossible.
import type { Architecture, TechniqueProblem } from '@pith/model';
import { configMembers } from '@pith/model';
import { prunedCount } from '../pattern/pattern.ts';
import { unitAxes } from './slice-groups.ts';
import type { StructureConfig } from './structure-config.ts';

/** How many there are and how many stay. */
export interface Count {
  /** In the model as it is. */
  readonly total: number;
  /** Afterwards. */
  readonly kept: number;
}

/** What becomes of a model's structure. */
export interface Reduction {
  /** Blocks. */
  readonly layers: Count;
  /** The blocks that go, ascending, where the config names them; null where they are chosen. */
  readonly namedLayers: readonly number[] | null;
  /** Of each block. */
  readonly neurons: Count;
  /** Of each block. */
  readonly kvGroups: Count;
}

/** What a unit is called in messages, and what it means to have none. */
const UNITS = {
  layers: { code: 'NO_LAYER_LEFT', many: 'layers', where: 'the model' },
  neurons: { code: 'NO_NEURON_LEFT', many: 'neurons', where: 'each layer' },
  kvGroups: { code: 'NO_HEAD_LEFT', many: 'key-value heads with their query heads', where: 'each layer' },
} as const;

/** The reduction that a config asks of a model; `problems` receives all that is impossible. */
export function reductionOf(
  architecture: Architecture,
  config: StructureConfig,
  problems: TechniqueProblem[],
): Reduction {
  const { blocks } = architecture;
  const first = blocks[0]!;
  const unitsOf = (kind: 'neurons' | 'kv-groups') => unitAxes(first, kind)[0]?.count ?? 0;
  const totals = { layers: blocks.length, neurons: unitsOf('neurons'), kvGroups: unitsOf('kv-groups') };
  const named = Array.isArray(config.layers) ? [...(config.layers as readonly number[])].sort((a, b) => a - b) : null;
  for (const index of named?.filter((layer) => layer >= totals.layers) ?? []) {
    problems.push({
      code: 'LAYER_UNKNOWN',
      name: `layers ${index}`,
      message: `layers are counted from 0 to ${totals.layers - 1}, got ${index}`,
    });
  }
  const count = (unit: keyof typeof UNITS, asked: number | null): Count => {
    const total = totals[unit];
    return { total, kept: total - (asked === null ? 0 : removedOf(unit, asked, total, problems)) };
  };
  problems.push(...unitProblems(architecture, config));
  const layers = count('layers', named === null ? (config.layers as number | null) : named.length);
  const kvGroups = count('kvGroups', config.kvGroups);
  requireDividingHeads(architecture, kvGroups, problems);
  const neurons = roundedUp(count('neurons', config.neurons), config, problems);
  return { layers, namedLayers: named, neurons, kvGroups };
}

/** Why units of a model cannot be taken out; layers always can. */
function unitProblems({ blocks, config: { modelType } }: Architecture, config: StructureConfig): TechniqueProblem[] {
  const problem = (name: string, message: string) => ({ code: 'STRUCTURE_UNSUPPORTED', name, message });
  const linears = blocks.flatMap((block) => block.linears);
  const ofHeads = blocks[0]!.norms.find(({ role, shape, features }) => {
    return (role === 'query' || role === 'key') && (shape.length > 1 || features !== blocks[0]!.linears[0]!.heads?.dim);
  });
  const found: TechniqueProblem[] = [];
  const { neurons, headDim } = configMembers(modelType);
  if (config.neurons !== null && neurons === null) {
    found.push(
      problem(
        'neurons',
        `the width of the feed-forward part of ${modelType} follows from hidden_size in its config; remove layers`,
      ),
    );
  }
  if (config.kvGroups !== null && !headDim) {
    found.push(
      problem(
        'kvGroups',
        `the length of a head of ${modelType} follows from hidden_size and the number of heads in its config; remove layers or neurons`,
      ),
    );
  }
  if (config.neurons !== null && linears.some(({ expert }) => expert !== null)) {
    found.push(
      problem('neurons', `${modelType} has experts, whose neurons cannot be taken out yet; remove layers or heads`),
    );
  }
  if (config.kvGroups !== null && ofHeads) {
    found.push(
      problem(
        'kvGroups',
        `${ofHeads.path} of ${modelType} normalizes heads with weights of their own, which cannot be taken out yet; remove layers or neurons`,
      ),
    );
  }
  return found;
}

/** Architectures whose config class in transformers 5 wants the query heads to divide the width, even with head_dim given. */
const HEADS_DIVIDE_WIDTH: readonly string[] = ['llama'];

function requireDividingHeads(
  { config: { modelType, hiddenSize, heads, keyValueHeads } }: Architecture,
  { total, kept }: Count,
  problems: TechniqueProblem[],
): void {
  const each = heads / keyValueHeads;
  const fits = (groups: number) => hiddenSize % (groups * each) === 0;
  if (!HEADS_DIVIDE_WIDTH.includes(modelType) || kept === total || fits(kept) || !fits(total)) return;
  const counts = Array.from({ length: total - 1 }, (_, i) => i + 1).filter((removed) => fits(total - removed));
  const remedy =
    counts.length === 0 ? 'no other count fits: leave the heads alone' : `counts that fit: ${counts.join(', ')}`;
  problems.push({
    code: 'HEADS_DO_NOT_DIVIDE',
    name: 'kvGroups',
    message:
      `${kept * each} query heads would be left, which do not divide hidden_size ${hiddenSize}: transformers refuses such ` +
      `a config of ${modelType}; ${remedy}`,
  });
}

function removedOf(unit: keyof typeof UNITS, asked: number, total: number, problems: TechniqueProblem[]): number {
  const { code, many, where } = UNITS[unit];
  const removed = asked < 1 ? prunedCount(total, asked) : asked;
  if (removed >= total) {
    const message = `${unit} must leave at least one of the ${total} ${many} of ${where}, got ${asked}; ask for ${total - 1} at most`;
    problems.push({
      code,
      name: unit,
      message: total > 1 ? message : `${where} has a single one of ${many}, which must stay`,
    });
    return 0;
  }
  if (removed === 0) {
    const message = `${unit} ${asked} of ${total} ${many} is less than one; ask for a larger share or for a count`;
    problems.push({ code: 'REMOVES_NOTHING', name: unit, message });
  }
  return removed;
}

function roundedUp(neurons: Count, { multipleOf }: StructureConfig, problems: TechniqueProblem[]): Count {
  const { total, kept } = neurons;
  const rounded = Math.ceil(kept / multipleOf) * multipleOf;
  if (kept === total || rounded < total) return { total, kept: kept === total ? total : rounded };
  problems.push({
    code: 'REMOVES_NOTHING',
    name: 'multipleOf',
    message: `${kept} of ${total} neurons rounded up to a multiple of ${multipleOf} is ${rounded}: none would go; take a smaller multiple or remove more`,
  });
  return { total, kept: total };
}
