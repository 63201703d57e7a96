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
