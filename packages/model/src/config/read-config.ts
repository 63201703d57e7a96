import { PithError } from '@pith/tensor-core';
import { familyOf } from '../architecture/registry.ts';
import { checkHfConfig } from './hf-config.ts';
import type { ModelConfig } from './model-config.ts';

/**
 * Reads a parsed config.json of a decoder into the facts of a model.
 *
 * Both styles are read: that of the hub (`rope_theta`, `rope_scaling`, `torch_dtype`) and that of transformers 5
 * (`rope_parameters`, `dtype`, `layer_types`). A field that is missing has the default of the published configuration
 * class of its architecture.
 *
 * @throws PithError `CONFIG_INVALID` listing every bad field, `ARCHITECTURE_UNSUPPORTED` naming what is supported.
 */
export function readModelConfig(json: unknown): ModelConfig {
  // The architecture is looked at first: an unknown one may give other types to the same field names.
  const modelType = typeof json === 'object' && json !== null && 'model_type' in json ? json.model_type : undefined;
  const family = typeof modelType === 'string' ? familyOf(modelType.slice(0, 64)) : undefined;
  const hf = checkHfConfig(json);
  if (
    family &&
    hf.architectures &&
    hf.architectures.length > 0 &&
    !hf.architectures.some((name) => family.headClasses.includes(name))
  ) {
    throw new PithError(
      'ARCHITECTURE_UNSUPPORTED',
      `read config: architectures of model_type ${family.modelType} must hold ${family.headClasses.join(' or ')}, ` +
        `got ${hf.architectures.join(', ')}; only models with a language-model head are supported`,
      { details: { modelType: family.modelType, architectures: hf.architectures } },
    );
  }
  const own = family ?? familyOf(hf.model_type);
  const unsupported = own.unsupported?.(hf) ?? [];
  if (unsupported.length > 0) {
    throw new PithError(
      'ARCHITECTURE_UNSUPPORTED',
      `read config: this ${own.modelType} model has parts that are not supported yet: ${unsupported.join('; ')}`,
      { details: { modelType: own.modelType, unsupported } },
    );
  }
  return own.readConfig(hf);
}
