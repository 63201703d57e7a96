// The table of one block, from the facts of the config and the names of the layout.
import type { ModelConfig } from '../config/model-config.ts';
import type { BlockSpec, Feed, HeadAxis, LinearPart, LinearSpec, ParameterSpec } from './architecture.ts';
import { normsOf } from './block-norms.ts';
import { latentRows } from './latent-attention.ts';
import type { Layout } from './layout.ts';
import type { LinearRow } from './linear-row.ts';

/** A linear outside of the blocks. */
export function outerLinear(
  path: string,
  [outFeatures, inFeatures]: readonly [number, number],
  facts: Pick<LinearSpec, 'role' | 'inputGroup' | 'normBefore' | 'biasName'> & { name?: string; tied?: boolean },
): LinearSpec {
  return {
    path,
    name: `${path}.weight`,
    parts: [],
    expert: null,
    shared: false,
    transposed: false,
    block: null,
    inFeatures,
    outFeatures,
    bias: facts.biasName !== null,
    fedBy: [],
    heads: null,
    tied: false,
    ...facts,
  };
}

/** What stands before the parts of a block: the names of the norms that nothing but linears reads. */
interface PartInputs {
  readonly attention: string | null;
  readonly feedForward: string | null;
}

function partInputs({ residual }: ModelConfig, { norms }: Layout, path: string): PartInputs {
  const name = (module: string | undefined) => (module === undefined ? null : `${path}.${module}.weight`);
  // Behind an addition the norm's output is the stream itself; without one the stream is the input.
  if (residual === 'post' || residual === 'after') return { attention: null, feedForward: null };
  const attention = name(norms.attention);
  return { attention, feedForward: residual === 'parallel' ? attention : name(norms.feedForward) };
}

/** Rows of queries, keys and values of a fused matrix. */
function attentionParts({ heads, keyValueHeads, headDim }: ModelConfig, order: 'parts' | 'groups'): LinearPart[] {
  const axis = (count: number): HeadAxis => ({ axis: 'rows', count, dim: headDim });
  const repeat = heads / keyValueHeads;
  const grouped = order === 'groups';
  const runs = grouped ? keyValueHeads : 1;
  const lengths = [heads / runs, keyValueHeads / runs, keyValueHeads / runs].map((count) => count * headDim);
  const stride = (grouped ? repeat + 2 : heads + 2 * keyValueHeads) * headDim;
  const roles = ['query', 'key', 'value'] as const;
  return roles.map((role, i) => ({
    role,
    rows: { start: lengths.slice(0, i).reduce((a, b) => a + b, 0), length: lengths[i], stride, count: runs },
    heads: axis(role === 'query' ? heads : keyValueHeads),
  }));
}

function attentionRows(
  config: ModelConfig,
  { attention }: Layout,
  path: string,
  normBefore: string | null,
): LinearRow[] {
  if (attention.kind === 'latent') return latentRows(config, attention, path, normBefore);
  const { hiddenSize, heads, keyValueHeads, headDim, biases } = config;
  const common = {
    inFeatures: hiddenSize,
    inputGroup: `${path}.attention`,
    normBefore,
    bias: biases.queryKeyValue,
  };
  const row = (module: string, role: 'query' | 'key' | 'value', count: number): LinearRow => ({
    ...common,
    module,
    role,
    outFeatures: count * headDim,
    heads: { axis: 'rows', count, dim: headDim },
  });
  const fused = attention.kind === 'fused';
  const inputs: LinearRow[] = fused
    ? [
        {
          ...common,
          module: attention.queryKeyValue,
          role: 'query-key-value',
          outFeatures: (heads + 2 * keyValueHeads) * headDim,
          parts: attentionParts(config, attention.order),
        },
      ]
    : [
        row(attention.query, 'query', heads),
        row(attention.key, 'key', keyValueHeads),
        row(attention.value, 'value', keyValueHeads),
      ];
  const values = `${path}.${fused ? attention.queryKeyValue : attention.value}`;
  return [
    ...inputs,
    {
      module: attention.output,
      role: 'attention-output',
      inFeatures: heads * headDim,
      outFeatures: hiddenSize,
      bias: biases.attentionOutput,
      inputGroup: `${path}.attention-output`,
      fedBy: [{ path: values, part: fused ? 'value' : null, scales: true, headDim, repeat: heads / keyValueHeads }],
      heads: { axis: 'columns', count: heads, dim: headDim },
    },
  ];
}

/** Names and widths of a feed-forward part, or of one expert. */
interface FeedForwardPlace {
  readonly path: string;
  /** Before the names of modules: `mlp.experts.0.`; empty outside of experts. */
  readonly prefix: string;
  /** Input group of the linears that read the hidden states. */
  readonly group: string;
  /** That of the one behind them. */
  readonly outputGroup: string;
  readonly width: number;
  readonly normBefore: string | null;
  readonly bias: boolean;
  readonly expert?: number;
  readonly shared?: boolean;
}

function feedForwardRows(
  { hiddenSize }: ModelConfig,
  layout: Layout['feedForward'],
  { path, prefix, group, outputGroup, width, normBefore, bias, expert, shared }: FeedForwardPlace,
): LinearRow[] {
  const common = {
    inFeatures: hiddenSize,
    outFeatures: width,
    inputGroup: `${path}.${group}`,
    normBefore,
    bias,
    ...(expert !== undefined && { expert }),
    ...(shared !== undefined && { shared }),
  };
  const feed = (module: string, part: Feed['part'], scales: boolean): Feed => ({
    path: `${path}.${prefix}${module}`,
    part,
    scales,
    headDim: width,
    repeat: 1,
  });
  const down = (fedBy: readonly Feed[]): LinearRow => ({
    ...common,
    module: prefix + layout.down,
    role: 'down',
    inFeatures: width,
    outFeatures: hiddenSize,
    inputGroup: `${path}.${outputGroup}`,
    normBefore: null,
    fedBy,
  });
  switch (layout.kind) {
    case 'gated':
      return [
        { ...common, module: prefix + layout.gate, role: 'gate' },
        { ...common, module: prefix + layout.up, role: 'up' },
        down([feed(layout.up, null, true), feed(layout.gate, null, false)]),
      ];
    case 'gated-fused': {
      const run = (start: number) => ({ start, length: width, stride: 2 * width, count: 1 });
      const parts: LinearPart[] = [
        { role: 'gate', rows: run(0), heads: null },
        { role: 'up', rows: run(width), heads: null },
      ];
      return [
        { ...common, module: prefix + layout.gateUp, role: 'gate-up', outFeatures: 2 * width, parts },
        down([feed(layout.gateUp, 'up', true), feed(layout.gateUp, 'gate', false)]),
      ];
    }
    case 'plain':
      return [{ ...common, module: prefix + layout.up, role: 'up' }, down([feed(layout.up, null, false)])];
  }
}

function expertRows(config: ModelConfig, layout: Layout, path: string, normBefore: string | null): LinearRow[] {
  const { hiddenSize, biases } = config;
  const { count, intermediateSize, shared: sharedCount } = config.experts!;
  const { router, experts, shared, gate, up, down } = layout.experts!;
  const rows = Array.from({ length: count }, (_, expert) =>
    feedForwardRows(
      config,
      { kind: 'gated', gate, up, down },
      {
        path,
        prefix: `${experts}.${expert}.`,
        group: `expert-${expert}`,
        outputGroup: `expert-${expert}-output`,
        width: intermediateSize,
        normBefore,
        bias: false,
        expert,
      },
    ),
  );
  const always =
    sharedCount === 0
      ? []
      : feedForwardRows(
          config,
          { kind: 'gated', gate, up, down },
          {
            path,
            prefix: `${shared!}.`,
            group: 'shared-experts',
            outputGroup: 'shared-experts-output',
            width: sharedCount * intermediateSize,
            normBefore,
            bias: biases.feedForward,
            shared: true,
          },
        );
  const routing: LinearRow = {
    module: router,
    role: 'router',
    inFeatures: hiddenSize,
    outFeatures: count,
    bias: false,
    inputGroup: `${path}.router`,
    normBefore,
  };
  return [routing, ...rows.flat(), ...always];
}

function parametersOf({ experts }: ModelConfig, layout: Layout, path: string, index: number): ParameterSpec[] {
  if (!experts?.layers[index] || !experts.choiceBias) return [];
  return [{ name: `${path}.${layout.experts!.choiceBias!}`, role: 'choice-bias', shape: [experts.count] }];
}

/** Blocks of the same variant run the same program. */
function variantOf({ windows, ropes, experts }: ModelConfig, index: number): string {
  const kinds = [...new Set(ropes.map((rope) => JSON.stringify(rope)))];
  const window = windows[index];
  return [
    window === null ? 'full' : `window-${window}`,
    ...(kinds.length > 1
      ? [ropes[index] === null ? 'no-rope' : `rope-${kinds.indexOf(JSON.stringify(ropes[index]))}`]
      : []),
    ...(experts && experts.layers.includes(false) ? [experts.layers[index] ? 'experts' : 'dense'] : []),
  ].join('-');
}

/** The table of block `index`. */
export function blockSpec(config: ModelConfig, layout: Layout, index: number): BlockSpec {
  const path = `${layout.blocks}.${index}`;
  const inputs = partInputs(config, layout, path);
  const rows = [
    ...attentionRows(config, layout, path, inputs.attention),
    ...(config.experts?.layers[index]
      ? expertRows(config, layout, path, inputs.feedForward)
      : feedForwardRows(config, layout.feedForward, {
          path,
          prefix: '',
          group: config.residual === 'parallel' ? 'attention' : 'feed-forward',
          outputGroup: 'feed-forward-output',
          width: config.intermediateSize,
          normBefore: inputs.feedForward,
          bias: config.biases.feedForward,
        })),
  ];
  const linears = rows.map(({ module, ...row }): LinearSpec => ({
    path: `${path}.${module}`,
    name: `${path}.${module}.weight`,
    biasName: row.bias ? `${path}.${module}.bias` : null,
    block: index,
    tied: false,
    expert: null,
    shared: false,
    transposed: layout.transposed ?? false,
    parts: [],
    normBefore: null,
    fedBy: [],
    heads: null,
    ...row,
  }));
  return {
    index,
    path,
    variant: variantOf(config, index),
    window: config.windows[index],
    rope: config.ropes[index],
    norms: normsOf(config, layout, path, linears),
    linears,
    parameters: parametersOf(config, layout, path, index),
  };
}
