// Divisors of the rotary frequencies, for files whose frequencies are not plain powers: Llama 3.1's scaling, LongRoPE.
import type { ModelConfig } from '../config/model-config.ts';

/** Tensors of divisors, by their names in a file without `.weight`; f32 [dim / 2] each. */
export function rotaryTensors(config: Pick<ModelConfig, 'rope'>): ReadonlyMap<string, Float32Array> {
  const factors = rotaryFactors(config);
  if (factors !== null) return new Map([['rope_freqs', factors]]);
  const scaling = config.rope?.scaling;
  if (scaling?.kind !== 'longrope') return new Map();
  return new Map([
    ['rope_factors_long', Float32Array.from(scaling.longFactors)],
    ['rope_factors_short', Float32Array.from(scaling.shortFactors)],
  ]);
}

/** f32 [dim / 2], what each frequency is divided by; null where none is. Linear scaling is metadata, not a tensor. */
export function rotaryFactors({ rope }: Pick<ModelConfig, 'rope'>): Float32Array | null {
  if (rope === null) return null;
  const { theta, scaling, dim } = rope;
  if (scaling.kind !== 'llama3') return null;
  const { factor, lowFrequencyFactor, highFrequencyFactor, originalMaxPositions } = scaling;
  const longest = originalMaxPositions / lowFrequencyFactor;
  const shortest = originalMaxPositions / highFrequencyFactor;
  return Float32Array.from({ length: dim / 2 }, (_, i) => {
    const wavelength = 2 * Math.PI * theta ** ((2 * i) / dim);
    if (wavelength < shortest) return 1;
    if (wavelength > longest) return factor;
    const smooth =
      (originalMaxPositions / wavelength - lowFrequencyFactor) / (highFrequencyFactor - lowFrequencyFactor);
    return 1 / ((1 - smooth) / factor + smooth);
  });
}
