// The forward pass of all architectures, steered by the facts of the config and the names of the layout: attention with rotary,
// learned or linear positions, norms before, behind or on both sides, gated or plain feed-forward parts, experts.
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import type { ModelConfig, NormConfig } from '../config/model-config.ts';
import type {
  ArchitectureProgram,
  AttentionInputs,
  BlockOutput,
  BlockSpec,
  LinearPart,
  Scope,
} from './architecture.ts';
import { latentStates } from './latent-attention.ts';
import type { Layout } from './layout.ts';
import { activations } from './ops/activations.ts';
import { headAttention, splitHeads, type HeadStates } from './ops/attention.ts';
import { routeTokens } from './ops/experts.ts';
import { layerNorm, rmsNorm } from './ops/norms.ts';
import { rotate } from './ops/rotary.ts';

/** Applies the norm of a module. `heads`: the weights of this many modules, one for each head, are taken together. */
function normalize(
  scope: Scope,
  module: string,
  x: Tensor,
  { kind, epsilon, offset, bias }: NormConfig,
  heads = 0,
): Tensor {
  const stored =
    heads === 0
      ? scope.weight(`${module}.weight`)
      : tf.stack(Array.from({ length: heads }, (_, head) => scope.weight(`${module}.norms.${head}.weight`)));
  const weight = offset === 0 ? stored : tf.add(stored, offset);
  // One weight for each head scales what was normalized without one.
  if (kind === 'rms' && weight.shape.length === 1) return rmsNorm(x, weight, epsilon);
  if (kind === 'rms') return tf.mul(rmsNorm(x, tf.ones([weight.shape.at(-1)!]), epsilon), weight);
  return layerNorm(x, weight, bias ? scope.weight(`${module}.bias`) : undefined, epsilon);
}

/** Rows of one part of a fused linear's output, f32 [batch, tokens, rows of the part]. */
function partOf(fused: Tensor, { rows: { start, length, stride, count } }: LinearPart): Tensor {
  const [batch, tokens] = fused.shape as [number, number, number];
  const runs = tf.reshape(fused, [batch, tokens, count, stride]);
  return tf.reshape(tf.slice(runs, [0, 0, 0, start], [batch, tokens, count, length]), [batch, tokens, count * length]);
}

/** The parts of a fused linear's output, in the order of the table. */
function partsOf(scope: Scope, block: BlockSpec, module: string, x: Tensor): Tensor[] {
  const spec = block.linears.find(({ path }) => path === `${block.path}.${module}`)!;
  const fused = scope.linear(module, x);
  return spec.parts.map((part) => partOf(fused, part));
}

/** The program of an architecture. */
export function architectureProgram(config: ModelConfig, layout: Layout): ArchitectureProgram {
  const { norm, residual } = config;
  const activate = activations[config.activation];
  const normed = (scope: Scope, module: string | undefined, x: Tensor) => normalize(scope, module!, x, norm);
  const added = (stream: Tensor, part: Tensor) =>
    tf.add(stream, config.residualScale === 1 ? part : tf.mul(part, config.residualScale));

  const feedForward = (scope: Scope, block: BlockSpec, x: Tensor): Tensor => {
    if (layout.experts && config.experts?.layers[block.index]) return mixture(scope, x);
    const part = layout.feedForward;
    if (part.kind === 'plain') return scope.linear(part.down, activate(scope.linear(part.up, x)));
    const [gate, up] =
      part.kind === 'gated'
        ? [scope.linear(part.gate, x), scope.linear(part.up, x)]
        : partsOf(scope, block, part.gateUp, x);
    return scope.linear(part.down, tf.mul(activate(gate), up));
  };

  const mixture = (scope: Scope, x: Tensor): Tensor => {
    const { router, experts, choiceBias, shared, gate, up, down } = layout.experts!;
    const facts = config.experts!;
    const rows = tf.reshape(x, [-1, config.hiddenSize]);
    const bias = facts.choiceBias ? scope.weight(choiceBias!) : undefined;
    const { routed, shares } = routeTokens(scope.linear(router, rows), facts, bias);
    const outputs = routed.map((mask, expert) => {
      const at = `${experts}.${expert}`;
      const input = { routed: mask };
      const own = tf.mul(rows, mask);
      const gated = tf.mul(
        activate(scope.linear(`${at}.${gate}`, own, input)),
        scope.linear(`${at}.${up}`, own, input),
      );
      const share = shares[expert]!;
      return tf.mul(scope.linear(`${at}.${down}`, gated, { ...input, share }), share);
    });
    if (facts.shared > 0) {
      const gated = tf.mul(activate(scope.linear(`${shared!}.${gate}`, rows)), scope.linear(`${shared!}.${up}`, rows));
      outputs.push(scope.linear(`${shared!}.${down}`, gated));
    }
    return tf.reshape(
      outputs.reduce((sum, output) => tf.add(sum, output)),
      x.shape,
    );
  };

  const attend = (
    scope: Scope,
    block: BlockSpec,
    x: Tensor,
    inputs: AttentionInputs,
  ): HeadStates & { mixed: Tensor } => {
    const states = asKept(headStates(config, layout, scope, block, x, inputs), inputs);
    const mixed = scope.linear(layout.attention.output, headAttention(config, states, inputs));
    return { ...states, mixed };
  };

  const block = (scope: Scope, spec: BlockSpec, x: Tensor, inputs: AttentionInputs): BlockOutput => {
    const { attention, afterAttention, feedForward: before, afterFeedForward } = layout.norms;
    const own = residual === 'post' || residual === 'after' ? x : normed(scope, attention, x);
    const { mixed, queries, keys, values } = attend(scope, spec, own, inputs);
    const states = { queries, keys, values };
    switch (residual) {
      case 'parallel':
      case 'parallel-two-norms': {
        const read = residual === 'parallel' ? own : normed(scope, before, x);
        return { hidden: added(added(x, mixed), feedForward(scope, spec, read)), ...states };
      }
      case 'post': {
        const middle = normed(scope, attention, added(x, mixed));
        return { hidden: normed(scope, before, added(middle, feedForward(scope, spec, middle))), ...states };
      }
      case 'pre': {
        const middle = added(x, mixed);
        return { hidden: added(middle, feedForward(scope, spec, normed(scope, before, middle))), ...states };
      }
      case 'after': {
        const middle = added(x, normed(scope, afterAttention, mixed));
        const part = feedForward(scope, spec, middle);
        return { hidden: added(middle, normed(scope, afterFeedForward, part)), ...states };
      }
      case 'sandwich': {
        const middle = added(x, normed(scope, afterAttention, mixed));
        const part = feedForward(scope, spec, normed(scope, before, middle));
        return { hidden: added(middle, normed(scope, afterFeedForward, part)), ...states };
      }
    }
  };

  return {
    embed: (scope, ids, positions, segments) => embed(config, layout, scope, { ids, positions, segments }),
    block,
    finish: (scope, hidden) => {
      const { outputProjection: projection, finalNorm } = layout;
      let x = hidden;
      if (projection?.activated) x = activate(scope.linear(projection.path, x));
      if (finalNorm !== undefined) x = normed(scope, finalNorm, x);
      if (projection && !projection.activated) x = scope.linear(projection.path, x);
      return x;
    },
    logits: (products) => {
      const { logitScale, logitSoftCap: cap } = config;
      const scaled = logitScale === 1 ? products : tf.mul(products, logitScale);
      return cap === null ? scaled : tf.mul(tf.tanh(tf.div(scaled, cap)), cap);
    },
  };
}

/** Keys and values as they are kept. */
function asKept(states: HeadStates, { kept }: AttentionInputs): HeadStates {
  if (kept === undefined) return states;
  return { ...states, keys: kept('keys', states.keys), values: kept('values', states.values) };
}

/** Queries, keys and values by head, normalized and rotated. */
function headStates(
  config: ModelConfig,
  { attention }: Layout,
  scope: Scope,
  block: BlockSpec,
  x: Tensor,
  inputs: AttentionInputs,
): HeadStates {
  if (attention.kind === 'latent') {
    return latentStates(config, attention, { scope, block, x }, inputs, { normalize, partOf });
  }
  const { cos, sin } = inputs;
  const { heads, keyValueHeads, headDim, queryKeyNorm } = config;
  const [query, key, value] =
    attention.kind === 'fused'
      ? partsOf(scope, block, attention.queryKeyValue, x)
      : [attention.query, attention.key, attention.value].map((module) => scope.linear(module, x));
  const ready = (part: Tensor, module: string | undefined, count: number): Tensor => {
    let states = part;
    if (queryKeyNorm?.over === 'whole') states = normalize(scope, module!, states, queryKeyNorm.norm);
    else if (queryKeyNorm) {
      const [batch, tokens] = part.shape as [number, number];
      const byHead = tf.reshape(part, [batch, tokens, count, headDim]);
      states = tf.reshape(
        normalize(scope, module!, byHead, queryKeyNorm.norm, attention.norms!.eachHead ? count : 0),
        part.shape,
      );
    }
    const split = splitHeads(states, count, headDim);
    return block.rope ? rotate(split, cos!, sin!, block.rope) : split;
  };
  return {
    queries: ready(query, attention.norms?.query, heads),
    keys: ready(key, attention.norms?.key, keyValueHeads),
    values: splitHeads(value, keyValueHeads, headDim),
  };
}

/** What is looked up. */
interface Lookups {
  readonly ids: Tensor;
  readonly positions: Tensor;
  readonly segments: Tensor | undefined;
}

function embed(config: ModelConfig, layout: Layout, scope: Scope, { ids, positions, segments }: Lookups): Tensor {
  const table = (path: string) => scope.weight(`${path}.weight`) as tf.Tensor2D;
  let x: Tensor = tf.gather(table(layout.embedding), ids as tf.Tensor2D);
  if (layout.inputProjection !== undefined) x = scope.linear(layout.inputProjection, x);
  if (config.embeddingScale !== 1) x = tf.mul(x, config.embeddingScale);
  if (layout.tokenTypes !== undefined) {
    x = tf.add(x, tf.gather(table(layout.tokenTypes), (segments ?? tf.zerosLike(ids)) as tf.Tensor2D));
  }
  if (layout.positions !== undefined) x = tf.add(x, tf.gather(table(layout.positions), positions as tf.Tensor1D));
  return layout.embeddingNorm === undefined ? x : normalize(scope, layout.embeddingNorm, x, config.norm);
}
