// The techniques that stages are made of: the only place that knows the packages which offer them. Options come from
// outside and are checked by the packages, whatever their type says here.
import type { BlockPass, ModelTransform } from '@pith/model';
import { factorizePass, type FactorizeOptions } from '@pith/lowrank';
import { structureTransform } from '@pith/prune';
import { gptqPass, rtnPass, type GptqOptions, type RtnPassOptions } from '@pith/quant';
import { PithError } from '@pith/tensor-core';
import type { StageKind } from '../recipe/recipe-schema.ts';
import type { Technique } from './technique.ts';

type Options = Readonly<Record<string, unknown>>;
type Maker = (options: Options) => Technique;

const pass =
  <T>(make: (options: T) => BlockPass): Maker =>
  (options) => ({ kind: 'pass', pass: make(options as T) });
const transform =
  <T>(make: (options: T) => ModelTransform): Maker =>
  (options) => ({ kind: 'transform', transform: make(options as T) });

const svd = (method: FactorizeOptions['method']): Maker =>
  pass<Options>((options) => factorizePass({ ...options, method } as FactorizeOptions));

const MAKERS: Readonly<Record<StageKind, Readonly<Record<string, Maker>>>> = {
  prune: {
    structure: transform(structureTransform),
  },
  factorize: { svd: svd('svd'), asvd: svd('asvd'), 'whitened-svd': svd('whitened-svd') },
  quantize: {
    rtn: pass<RtnPassOptions>(rtnPass),
    gptq: pass<GptqOptions>(gptqPass),
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
  throw new PithError('METHOD_UNKNOWN', `${kind}: there is no method "${String(method)}"`, {
    details: { kind, method },
  });
}
