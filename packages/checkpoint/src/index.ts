export { planOutput } from './safetensors/plan-output.ts';
export type {
  OutputFile,
  OutputLayout,
  OutputPlace,
  OutputTensor,
  PlanOutputOptions,
} from './safetensors/plan-output.ts';
export { asConvertible, formatName, isConvertible, STORED_DTYPES, storedBits } from './safetensors/stored-dtype.ts';
export type { ConvertibleDType, ExoticDType, StoredDType } from './safetensors/stored-dtype.ts';
