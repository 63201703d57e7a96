// A table for a model whose architecture is unknown: every matrix that looks like the weight of a linear layer is taken for one.
// Names decide, as nothing else tells a table that is looked up from a matrix that is multiplied with; therefore only on request.
import type { LinearSpec } from '@pith/model';
import type { ModuleTable } from './plan-rtn.ts';
import type { PlannedTensor } from './rtn-types.ts';

/** Modules that are looked up, that choose, or that runtimes keep: never taken for linear layers of blocks. */
const LOOKED_UP = /(?:embed|^wte$|^wpe$|position|token_type|rel_pos|relative_attention_bias)/i;
const HEADS = /^(?:lm_head|embed_out|output|output_layer|head|classifier|score)$/i;
const ROUTERS = /^(?:gate|router|shared_expert_gate|switch)$/i;
const NORMS = /(?:norm|^ln(?:_|\d|$))/i;

const lastPart = (path: string) => path.slice(path.lastIndexOf('.') + 1);

/** Which tensors a {@link genericTable} takes, and why it leaves the others. */
export interface GenericTable {
  /** What `planRtn` reads. */
  readonly table: ModuleTable;
  /** Matrices that are left alone, with the reason. */
  readonly left: readonly {
    /** Name of the tensor. */
    readonly name: string;
    /** Why, in words. */
    readonly reason: string;
  }[];
}

/** The table of the matrices of a checkpoint by their names: 2-D tensors called `<module>.weight`. */
export function genericTable(tensors: readonly Pick<PlannedTensor, 'name' | 'shape'>[]): GenericTable {
  const left: { name: string; reason: string }[] = [];
  const linears: LinearSpec[] = [];
  let head: LinearSpec | undefined;
  for (const { name, shape } of tensors) {
    if (shape.length !== 2) continue;
    const path = name.endsWith('.weight') ? name.slice(0, -'.weight'.length) : null;
    const own = path === null ? '' : lastPart(path);
    const reason =
      path === null
        ? "a matrix that is no module's weight"
        : LOOKED_UP.test(own)
          ? 'looks like a table that is looked up'
          : ROUTERS.test(own)
            ? 'looks like a router'
            : NORMS.test(own)
              ? 'looks like a norm'
              : null;
    if (path === null || reason !== null) {
      left.push({ name, reason: reason! });
      continue;
    }
    const linear = genericLinear(path, name, shape as [number, number], HEADS.test(own) && path.split('.').length <= 2);
    if (linear.role === 'head') head ??= linear;
    else linears.push(linear);
  }
  const embedding = tensors.find(({ name, shape }) => shape.length === 2 && /embed|wte/i.test(name));
  return {
    table: {
      embedding: {
        path: embedding?.name.replace(/\.weight$/, '') ?? '(no embedding)',
        name: embedding?.name ?? '',
        rows: embedding?.shape[0] ?? 0,
        columns: embedding?.shape[1] ?? 0,
      },
      head: head ?? { ...genericLinear('(no head)', '', [0, 0], true), tied: true },
      blocks: [{ linears }],
    },
    left,
  };
}

function genericLinear(
  path: string,
  name: string,
  [outFeatures, inFeatures]: [number, number],
  head: boolean,
): LinearSpec {
  return {
    path,
    name,
    biasName: null,
    role: head ? 'head' : 'projection',
    parts: [],
    expert: null,
    shared: false,
    transposed: false,
    block: null,
    inFeatures,
    outFeatures,
    bias: false,
    inputGroup: path,
    normBefore: null,
    fedBy: [],
    heads: null,
    tied: false,
  };
}
