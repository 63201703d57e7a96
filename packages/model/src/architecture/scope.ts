// Scopes over named tensors: how a program finds its weights (see `Scope`).
import { PithError, factorNames } from '@pith/tensor-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import type { Architecture, BlockSpec, LinearInput, LinearSpec, Scope } from './architecture.ts';
import { linear } from './ops/linear.ts';

/** Finds a tensor by checkpoint name. A linear whose weight it has not may have two factors by `factorNames`. */
export type TensorLookup = (name: string) => Tensor | undefined;

/** Applies one linear layer; `apply` is the plain product, or the two products of a factored weight. */
export type LinearHook = (spec: LinearSpec, x: Tensor, apply: () => Tensor, input?: LinearInput) => Tensor;

/** Rounds what a product of a linear reads: its input, and what lies between two factors. */
export type InputRounding = (spec: LinearSpec, x: Tensor) => Tensor;

function scopeOver(
  prefix: string,
  linears: readonly LinearSpec[],
  find: TensorLookup,
  hook?: LinearHook,
  rounding: InputRounding = (_, x) => x,
): Scope {
  const byPath = new Map(linears.map((spec) => [spec.path, spec]));
  const tensor = (name: string): Tensor => {
    const found = find(name);
    if (found) return found;
    throw new PithError('WEIGHT_MISSING', `forward pass: needs the tensor ${name}, got none by that name`, {
      details: { name },
    });
  };
  return {
    weight: (name) => tensor(prefix + name),
    linear: (path, x, input) => {
      const spec = byPath.get(prefix + path);
      if (!spec) {
        throw new PithError('LINEAR_UNKNOWN', `forward pass: ${prefix + path} is not in the architecture's table`, {
          kind: 'internal',
        });
      }
      const apply = () => {
        const bias = spec.biasName === null ? undefined : tensor(spec.biasName);
        const names = factorNames(spec.name);
        const [left, right] = [find(names.left), find(names.right)];
        const rounded = rounding(spec, x);
        if (left && right && !find(spec.name)) return linear(rounding(spec, linear(rounded, right)), left, bias);
        return linear(rounded, tensor(spec.name), bias);
      };
      return hook ? hook(spec, x, apply, input) : apply();
    },
  };
}

/** The scope of one block: names are relative to `block.path`, `find` gets full checkpoint names. */
export function blockScope(block: BlockSpec, find: TensorLookup, hook?: LinearHook, rounding?: InputRounding): Scope {
  return scopeOver(`${block.path}.`, block.linears, find, hook, rounding);
}

/** The scope of what lies outside the blocks: embedding, final norm, projections, head. */
export function modelScope(architecture: Architecture, find: TensorLookup, hook?: LinearHook): Scope {
  return scopeOver('', outerLinears(architecture), find, hook);
}

/** The linears outside of the blocks, in the order in which they are applied, the head last. */
export function outerLinears({ inputProjection, outputProjection, head }: Architecture): LinearSpec[] {
  return [inputProjection, outputProjection, head].filter((linear) => linear !== null);
}
