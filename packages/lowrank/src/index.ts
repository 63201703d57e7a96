export { factorizePass } from './factorize/factorize-pass.ts';
export { factorizeTransform } from './factorize/factorize-transform.ts';
export { factorizeConfig } from './factorize/factorize-config.ts';
export type {
  AsvdFactorizeOptions,
  FactorizeCommonOptions,
  FactorizeConfig,
  FactorizeOptions,
  SvdFactorizeOptions,
  WhitenedSvdFactorizeOptions,
} from './factorize/factorize-config.ts';
export { restoreDense } from './restore/restore-dense.ts';
export type { RestoredDType, RestoreOptions } from './restore/restore-dense.ts';
export { decomposeTransform } from './decompose/decompose-transform.ts';
export { decomposeConfig } from './decompose/decompose-config.ts';
export type {
  CpDecomposeOptions,
  DecomposeCommonOptions,
  DecomposeConfig,
  DecomposeOptions,
  TuckerDecomposeOptions,
} from './decompose/decompose-config.ts';
export { tucker, tuckerTensor } from './tucker/tucker.ts';
export type { Tucker, TuckerOptions, TuckerRanks } from './tucker/tucker.ts';
export { cp, cpTensor } from './cp/cp.ts';
export type { Cp, CpOptions } from './cp/cp.ts';
export type { Matrix, Tensor3 } from './tensor/tensor3.ts';
