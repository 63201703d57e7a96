// The techniques that stages are made of: the only place that knows the packages which offer them.
import { rtnPass, type RtnPassOptions } from '@pith/quant';
import { PithError } from '@pith/tensor-core';
import type { StageKind } from '../recipe/recipe-schema.ts';
import type { Technique } from './technique.ts';

type Options = Readonly<Record<string, unknown>>;

const MAKERS: Readonly<Record<StageKind, Readonly<Record<string, (options: Options) => Technique>>>> = {
  prune: {},
  factorize: {},
  distill: {},
  quantize: {
    rtn: (options) => ({ kind: 'pass', pass: rtnPass(options as unknown as RtnPassOptions) }),
  },
};

/**
 * Makes the technique of a stage.
 *
 * @throws PithError `METHOD_UNKNOWN`, and those of the technique where options are wrong.
 */
export function makeTechnique(kind: StageKind, { method, ...options }: Options): Technique {
  const make = MAKERS[kind][String(method)];
  if (make !== undefined) return make(options);
  throw new PithError('METHOD_UNKNOWN', `${kind}: there is no method "${String(method)}"`, { details: { kind, method } });
}
