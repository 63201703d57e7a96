// The techniques that stages are made of: the only place that knows the packages which offer them. Options come from
// outside and are checked by the packages, whatever their type says here.
import type { BlockPass, ModelTransform } from '@pith/model';
import { distillTransform, type DistillOptions } from '@pith/distill';
import {
  decomposeTransform,
  factorizePass,
  factorizeTransform,
  type DecomposeOptions,
  type FactorizeOptions,
} from '@pith/lowrank';
import {
  gradualTransform,
  iterativeTransform,
  prunePass,
  structureTransform,
  type GradualOptions,
  type IterativeOptions,
  type PruneOptions,
} from '@pith/prune';
import {
  awqPass,
  gptqPass,
  gptqRounding,
  hqqPass,
  kvCachePass,
  qatTransform,
  rtnPass,
  smoothquantPass,
  type AwqOptions,
  type GptqOptions,
  type HqqOptions,
  type KvCacheOptions,
  type QatOptions,
  type RtnPassOptions,
  type SmoothQuantOptions,
} from '@pith/quant';
import { PithError } from '@pith/tensor-core';
import type { StageKind } from '../recipe/stage-kinds.ts';
import type { Technique } from './technique.ts';

type Options = Readonly<Record<string, unknown>>;
type Maker = (options: Options) => Technique;

const pass =
  <T>(make: (options: T) => BlockPass): Maker =>
  (options) => ({ kind: 'pass', pass: make(options as T) });
const transform =
  <T>(make: (options: T) => ModelTransform): Maker =>
  (options) => ({ kind: 'transform', transform: make(options as T) });

const unstructured = (method: PruneOptions['method']): Maker =>
  pass<Options>(({ quantize, ...options }) => {
    const rounding = quantize === undefined ? {} : { rounding: gptqRounding(quantize as GptqOptions) };
    return prunePass({ ...options, ...rounding, method } as PruneOptions);
  });

/** Ranks under a budget for all linears are found by a walk of their own. */
const svd =
  (method: FactorizeOptions['method']): Maker =>
  (given) => {
    const options = { ...given, method } as FactorizeOptions;
    return options.budget === undefined
      ? { kind: 'pass', pass: factorizePass(options) }
      : { kind: 'transform', transform: factorizeTransform(options) };
  };

const decomposition = (method: DecomposeOptions['method']): Maker =>
  transform<Options>((options) => decomposeTransform({ ...options, method } as DecomposeOptions));

const MAKERS: Readonly<Record<StageKind, Readonly<Record<string, Maker>>>> = {
  prune: {
    magnitude: unstructured('magnitude'),
    wanda: unstructured('wanda'),
    taylor: unstructured('taylor'),
    sparsegpt: unstructured('sparsegpt'),
    structure: transform(structureTransform),
    iterative: transform<IterativeOptions>((options) => iterativeTransform(options)),
    gradual: transform<GradualOptions>(gradualTransform),
  },
  factorize: {
    svd: svd('svd'),
    asvd: svd('asvd'),
    'whitened-svd': svd('whitened-svd'),
    tucker: decomposition('tucker'),
    cp: decomposition('cp'),
  },
  distill: { offline: transform<DistillOptions>(distillTransform) },
  quantize: {
    rtn: pass<RtnPassOptions>(rtnPass),
    hqq: pass<HqqOptions>(hqqPass),
    gptq: pass<GptqOptions>(gptqPass),
    awq: pass<AwqOptions>(awqPass),
    smoothquant: pass<SmoothQuantOptions>(smoothquantPass),
    qat: transform<QatOptions>(qatTransform),
    'kv-cache': pass<KvCacheOptions>(kvCachePass),
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
