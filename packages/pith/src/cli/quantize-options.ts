// Flags of `plan` and `quantize` as options of the library: names only; the library checks the values.
import type { QuantizeOptions } from '../plan/types.ts';
import type { QuantizeFlags } from './options.ts';

/** The library's options for these flags; a flag that was not given is left out. */
export function quantizeOptions(flags: QuantizeFlags): QuantizeOptions {
  return {
    ...(flags.method === undefined ? {} : { method: flags.method }),
    ...(flags.scheme === undefined ? {} : { scheme: flags.scheme }),
    ...(flags.range === undefined ? {} : { range: flags.range }),
    ...(flags.scaleDtype === undefined ? {} : { scaleDType: flags.scaleDtype }),
    ...(flags.include === undefined ? {} : { include: flags.include }),
    ...(flags.ignore === undefined ? {} : { ignore: flags.ignore }),
    ...(flags.format === undefined ? {} : { format: flags.format }),
    ...(flags.shardSize === undefined ? {} : { shardBytes: flags.shardSize }),
    ...(flags.seed === undefined ? {} : { seed: flags.seed }),
    ...(flags.memory === undefined ? {} : { memoryBytes: flags.memory }),
    ...(flags.threads === undefined ? {} : { threads: flags.threads }),
  };
}
