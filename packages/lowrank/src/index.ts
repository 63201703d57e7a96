export { factorizePass } from './factorize/factorize-pass.ts';
export { factorizeConfig } from './factorize/factorize-config.ts';
export type {
  AsvdFactorizeOptions,
  FactorizeCommonOptions,
  FactorizeConfig,
  FactorizeOptions,
  SvdFactorizeOptions,
  WhitenedSvdFactorizeOptions,
} from './factorize/factorize-config.ts';
