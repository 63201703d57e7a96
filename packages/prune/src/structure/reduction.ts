// From what is asked for to numbers of a model: how many layers, neurons and groups go and stay, and what of that is
// impossible.
import type { Architecture, TechniqueProblem } from '@pith/model';
import { configMembers } from '@pith/model';
import { prunedCount } from '../pattern/pattern.ts';
import { expertSet } from './expert-units.ts';
import { isDense, unitAxes, type UnitAxis } from './slice-groups.ts';
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
  /** Of each block without experts; 0 where all have experts. */
  readonly neurons: Count;
  /** Of each expert; 0 without experts. */
  readonly expertNeurons: Count;
  /** Of the experts that every token goes through, a multiple of an expert's; 0 without such. */
  readonly sharedNeurons: Count;
  /** Of each block. */
  readonly kvGroups: Count;
  /** Of each block with experts; 0 without any. */
  readonly experts: Count;
}

/** The count of the units of an axis. */
export function countOf(
  { neurons, expertNeurons, sharedNeurons, kvGroups }: Reduction,
  { kind, reader }: UnitAxis,
): Count {
  if (kind === 'kv-groups') return kvGroups;
  if (reader.shared) return sharedNeurons;
  return reader.expert === null ? neurons : expertNeurons;
}

/** Whether units of a kind go. */
export function loses({ neurons, expertNeurons, kvGroups }: Reduction, kind: UnitAxis['kind']): boolean {
  const counts = kind === 'kv-groups' ? [kvGroups] : [neurons, expertNeurons];
  return counts.some(({ kept, total }) => kept < total);
}

/** What a unit is called in messages, and what it means to have none. */
const UNITS = {
  layers: { code: 'NO_LAYER_LEFT', many: 'layers', where: 'the model' },
  neurons: { code: 'NO_NEURON_LEFT', many: 'neurons', where: 'each layer' },
  expertNeurons: { code: 'NO_NEURON_LEFT', many: 'neurons', where: 'each expert' },
  kvGroups: { code: 'NO_HEAD_LEFT', many: 'key-value heads with their query heads', where: 'each layer' },
  experts: { code: 'TOO_FEW_EXPERTS_LEFT', many: 'experts', where: 'each layer' },
} as const;

/** The reduction that a config asks of a model; `problems` receives all that is impossible. */
export function reductionOf(
  architecture: Architecture,
  config: StructureConfig,
  problems: TechniqueProblem[],
): Reduction {
  const { blocks } = architecture;
  const axes = blocks.flatMap((block) => [...unitAxes(block, 'neurons'), ...unitAxes(block, 'kv-groups')]);
  const unitsOf = (is: (axis: UnitAxis) => boolean) => axes.find(is)?.count ?? 0;
  const totals = {
    layers: blocks.length,
    neurons: unitsOf(({ kind, reader }) => kind === 'neurons' && isDense(reader)),
    expertNeurons: unitsOf(({ kind, reader }) => kind === 'neurons' && reader.expert !== null),
    kvGroups: unitsOf(({ kind }) => kind === 'kv-groups'),
    experts: architecture.config.experts?.count ?? 0,
  };
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
    return { total, kept: total - (asked === null || total === 0 ? 0 : removedOf(unit, asked, total, problems)) };
  };
  problems.push(...unitProblems(architecture, config));
  const experts = count('experts', config.experts);
  requireChosenExperts(architecture, experts, problems);
  const layers = count('layers', named === null ? (config.layers as number | null) : named.length);
  const kvGroups = count('kvGroups', config.kvGroups);
  requireDividingHeads(architecture, kvGroups, problems);
  const neurons = roundedUp(count('neurons', config.neurons), config, problems);
  const expertNeurons = roundedUp(
    count('expertNeurons', config.expertNeurons === undefined ? config.neurons : config.expertNeurons),
    config,
    problems,
  );
  if (
    config.expertNeurons === undefined &&
    config.neurons !== null &&
    config.neurons >= 1 &&
    totals.neurons > 0 &&
    totals.expertNeurons > 0
  ) {
    problems.push({
      code: 'NEURONS_AMBIGUOUS',
      name: 'neurons',
      message: `some layers have ${totals.neurons} neurons and others experts of ${totals.expertNeurons}, got a count of ${config.neurons} for both; ask for a share`,
    });
  }
  // The config has one width for all experts, and says how many times that the shared ones are.
  const times = architecture.config.experts?.shared ?? 0;
  const sharedNeurons = { total: times * expertNeurons.total, kept: times * expertNeurons.kept };
  return { layers, namedLayers: named, neurons, expertNeurons, sharedNeurons, kvGroups, experts };
}

/** Why units of a model cannot be taken out; layers always can. */
function unitProblems({ blocks, config: facts }: Architecture, config: StructureConfig): TechniqueProblem[] {
  const { modelType } = facts;
  const groups = facts.experts?.groups;
  const problem = (name: string, message: string) => ({ code: 'STRUCTURE_UNSUPPORTED', name, message });
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
  if (config.experts !== null && blocks.every((block) => expertSet(block) === null)) {
    found.push(problem('experts', `${modelType} has no layer with experts; remove layers or neurons`));
  }
  if (config.experts !== null && (groups ?? 1) > 1) {
    found.push(
      problem(
        'experts',
        `the router of ${modelType} looks at the best of ${groups} groups of experts, which must stay alike; remove neurons or layers`,
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
  if (config.kvGroups !== null && ofHeads) {
    found.push(
      problem(
        'kvGroups',
        `${ofHeads.path} of ${modelType} normalizes ${ofHeads.shape.length > 1 ? 'each head with weights of its own, which cannot be taken out yet' : 'all heads together, so that the others would change without one'}; remove layers or neurons`,
      ),
    );
  }
  return found;
}

/** Architectures whose config class in transformers 5 wants the query heads to divide the width, even with head_dim given. */
const HEADS_DIVIDE_WIDTH: readonly string[] = ['llama', 'deepseek_v2'];

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

/** As many experts must stay as each token goes to. */
function requireChosenExperts({ config }: Architecture, { total, kept }: Count, problems: TechniqueProblem[]): void {
  const perToken = config.experts?.perToken ?? 0;
  if (kept === total || kept >= perToken) return;
  problems.push({
    code: UNITS.experts.code,
    name: 'experts',
    message: `experts must leave the ${perToken} that each token goes to, ${kept} of ${total} would be left; ask for ${total - perToken} at most`,
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
