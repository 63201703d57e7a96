// Names of schemes, as they are typed on a command line.
//
// Grammar: `w<bits>` [ `a8` | `a16` ] [ `g<size>` ] [ `-channel` | `-tensor` ] [ `-asym` | `-sym` ]
// [ `-static` [ `-aasym` ] | `-dynamic` ], and
// `fp8` [ `-e5m2` | `-e4m3` ] [ `-channel` | `-tensor` ] [ `-a16` | `-static` | `-dynamic` ], and
// `nvfp4` | `mxfp4` [ `-a16` | `-a4` ], `mxfp8` [ `-a16` | `-a8` ], `fp8-block` [ `<rows>x<columns>` ] [ `-e5m2` ] [ `-a16` ].
import { PithError, type Granularity } from '@pith/tensor-core';
import { defineScheme } from './define-scheme.ts';
import type { ActivationScheme, Scheme } from './scheme.ts';

const INTEGER = /^w([2-8])(a8|a16)?(?:-?g(\d{1,7}))?((?:-(?:channel|tensor|asym|sym|static|dynamic|aasym))*)$/;
const FLOAT = /^(?:fp8|f8)((?:-(?:e4m3|e5m2|channel|tensor|a16|dynamic|static))*)$/;

const MICRO = /^(nvfp4|mxfp4|mxfp8)(?:-?(a16|a4|a8))?$/;
const TILES = /^fp8-block(?:-?(\d{1,4})x(\d{1,4}))?((?:-(?:e4m3|e5m2|a16|dynamic))*)$/;

/** Names that cover the usual needs, most used first; shown where a name is not understood. */
export const SCHEME_EXAMPLES: readonly string[] = Object.freeze([
  'w4g128',
  'w4g128-asym',
  'w4g64',
  'w4g32',
  'w3g128',
  'w8',
  'w8a8',
  'w8a8-static',
  'w4a8g128',
  'fp8',
  'w4',
  'w4-asym',
  'w8-asym',
  'w8a8-asym',
  'w8a8-static-aasym',
  'w2g64',
  'w8g128',
  'w4-tensor',
  'fp8-tensor',
  'fp8-a16',
  'fp8-static',
  'fp8-e5m2',
  'fp8-block',
  'nvfp4',
  'nvfp4-a4',
  'mxfp4',
  'mxfp4-a4',
  'mxfp8',
  'mxfp8-a8',
  'fp8-block-a16',
]);

/**
 * Reads the name of a scheme. Without a group size there is one scale per channel (output row).
 *
 * - `w4g128`: 4-bit integers, symmetric, one scale per 128 columns; weights only.
 * - `w8`: 8-bit integers, one scale per channel; weights only.
 * - `w8a8`: the same weights; the runtime also quantizes activations to int8, per token, dynamically.
 * - `w4a8g128`: 4-bit weights, which a runtime widens to int8, and activations in int8, per token, dynamically.
 * - `w8a8-static`: as `w8a8`, with one activation scale per layer that calibration finds; `-aasym` adds a zero point.
 * - `fp8`: e4m3 weights, one scale per channel; the runtime quantizes activations to e4m3, per token, dynamically
 *   (what vLLM and llm-compressor call FP8_DYNAMIC). `fp8-static` has one activation scale per layer that calibration finds, `fp8-a16` leaves
 *   activations alone.
 * - `fp8-e5m2`: e5m2 weights, weights only, because no runtime multiplies e5m2 by e5m2.
 * - `fp8-block`: e4m3 weights, one scale for each tile of 128 x 128; activations in groups of 128, dynamically (FP8_BLOCK of
 *   llm-compressor). `fp8-block-a16` leaves activations alone, `fp8-block64x64` has other tiles.
 * - `nvfp4`: fp4 (e2m1) weights in groups of 16 with scales in e4m3 and one f32 for the tensor; weights only (NVFP4A16 of
 *   llm-compressor). `nvfp4-a4` quantizes activations alike, with a global scale that calibration finds (its NVFP4).
 * - `mxfp4`, `mxfp8`: e2m1 or e4m3 weights in groups of 32 that share an exponent; weights only. `mxfp4-a4` and `mxfp8-a8`
 *   quantize activations alike, dynamically.
 *
 * @throws PithError `SCHEME_UNKNOWN` with the nearest names.
 */
export function parseScheme(name: string): Scheme {
  const text = name.trim().toLowerCase();
  const integer = INTEGER.exec(text);
  if (integer) {
    const [, bits = '', activations, group, tail = ''] = integer;
    const words = split(tail, name);
    const quantized = activations === 'a8';
    if (!quantized && ['static', 'dynamic', 'aasym'].some((word) => words.has(word))) throw unknown(name);
    const kind = choose(words, 'dynamic', 'static', name);
    if (kind === 'dynamic' && words.has('aasym')) throw unknown(name);
    return defineScheme({
      weights: {
        kind: 'int',
        bits: Number(bits),
        symmetric: choose(words, 'sym', 'asym', name) === 'sym',
        granularity: granularityOf(group, words, name),
      },
      ...(quantized ? { activations: activationScheme('i8', kind, words.has('aasym')) } : {}),
    });
  }
  const float = FLOAT.exec(text);
  if (float) {
    const words = split(float[1] ?? '', name);
    const dtype = choose(words, 'e4m3', 'e5m2', name) === 'e5m2' ? 'f8_e5m2' : 'f8_e4m3';
    const kind = choose(words, 'dynamic', 'static', name);
    const weightsOnly = words.has('a16');
    if (weightsOnly && (words.has('dynamic') || words.has('static'))) throw unknown(name);
    if (dtype === 'f8_e5m2' && words.has('static')) throw unknown(name);
    return defineScheme({
      weights: { kind: 'float', dtype, granularity: granularityOf(undefined, words, name) },
      ...(dtype === 'f8_e4m3' && !weightsOnly ? { activations: activationScheme(dtype, kind, false) } : {}),
    });
  }
  return microScheme(text) ?? tileScheme(text, name) ?? refuse(name);
}

/** NVFP4, MXFP4 and MXFP8. */
function microScheme(text: string): Scheme | undefined {
  const found = MICRO.exec(text);
  if (!found) return undefined;
  const [, kind = '', inputs = 'a16'] = found;
  const dtype = kind === 'mxfp8' ? 'f8_e4m3' : 'f4_e2m1';
  if (inputs !== 'a16' && inputs !== (dtype === 'f4_e2m1' ? 'a4' : 'a8')) return undefined;
  const size = kind === 'nvfp4' ? 16 : 32;
  const scaleDType = kind === 'nvfp4' ? 'f8_e4m3' : 'f8_e8m0';
  return defineScheme({
    weights: { kind: 'float', dtype, granularity: { kind: 'group', size }, scaleDType },
    ...(inputs !== 'a16' && { activations: { dtype, granularity: 'group', dynamic: true, size, scaleDType } }),
  });
}

/** FP8 with one scale for each tile. */
function tileScheme(text: string, name: string): Scheme | undefined {
  const found = TILES.exec(text);
  if (!found) return undefined;
  const [, rows = '128', columns = '128', tail = ''] = found;
  const words = split(tail, name);
  const dtype = choose(words, 'e4m3', 'e5m2', name) === 'e5m2' ? 'f8_e5m2' : 'f8_e4m3';
  choose(words, 'dynamic', 'a16', name);
  if (dtype === 'f8_e5m2' && words.has('dynamic')) return undefined;
  const size = Number(columns);
  return defineScheme({
    weights: { kind: 'float', dtype, granularity: { kind: 'block', rows: Number(rows), columns: size } },
    ...(dtype === 'f8_e4m3' &&
      !words.has('a16') && { activations: { dtype, granularity: 'group', dynamic: true, size } }),
  });
}

function refuse(name: string): never {
  throw unknown(name);
}

function activationScheme(dtype: ActivationScheme['dtype'], kind: 'dynamic' | 'static', zeroPoint: boolean) {
  const scheme: ActivationScheme =
    kind === 'dynamic'
      ? { dtype, granularity: 'token', dynamic: true }
      : { dtype, granularity: 'tensor', dynamic: false };
  return zeroPoint ? { ...scheme, symmetric: false } : scheme;
}

function granularityOf(group: string | undefined, words: ReadonlySet<string>, name: string): Granularity {
  const kind = choose(words, 'channel', 'tensor', name);
  if (group === undefined) return { kind };
  if (words.has('channel') || words.has('tensor')) throw unknown(name);
  return { kind: 'group', size: Number(group) };
}

/** The word of the two that is there, the first when none is. */
function choose<A extends string, B extends string>(words: ReadonlySet<string>, a: A, b: B, name: string): A | B {
  if (words.has(a) && words.has(b)) throw unknown(name);
  return words.has(b) ? b : a;
}

function split(tail: string, name: string): ReadonlySet<string> {
  const words = tail.split('-').filter((word) => word !== '');
  const set = new Set(words);
  if (set.size !== words.length) throw unknown(name);
  return set;
}

/** Codings that are known elsewhere, and where. */
const ELSEWHERE: readonly (readonly [RegExp, string])[] = [
  [/^(nf4|fp4)(-?(g|b)\d+)?$/, 'a table of bitsandbytes: pith export --format bitsandbytes:nf4'],
  [/^(i?q\d|tq\d)[_\da-z]*$/, 'a type of llama.cpp: pith export --format gguf:NAME'],
  [/^(log|pot)\d*$/, 'a logarithmic code, which no format of a runtime holds'],
  [/^(int|uint)\d+$/, 'a dtype: write w4g128 for 4-bit weights in groups of 128, w8 for 8 bits'],
];

function unknown(name: string): PithError {
  const known = ELSEWHERE.find(([pattern]) => pattern.test(name.trim().toLowerCase()))?.[1];
  const nearest = SCHEME_EXAMPLES.map((example) => ({ example, distance: editDistance(name.toLowerCase(), example) }))
    .sort((a, b) => a.distance - b.distance)
    .slice(0, 4)
    .map(({ example }) => example);
  return new PithError(
    'SCHEME_UNKNOWN',
    `parse scheme: expected w<2..8>[a8][g<size>][-tensor][-asym][-static], fp8[-e5m2][-tensor][-static][-a16], ` +
      `fp8-block[-a16], nvfp4[-a4], mxfp4[-a4] or mxfp8[-a8], got ` +
      `${JSON.stringify(name.slice(0, 60))}${known === undefined ? `; did you mean ${nearest.join(', ')}?` : `, which is ${known}`}`,
    { details: { value: name.slice(0, 200), suggestions: nearest } },
  );
}

/** Letters to insert, remove or replace (Levenshtein). */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= Math.min(a.length, 60); i += 1) {
    const row = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const replaced = previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(replaced, previous[j]! + 1, row[j - 1]! + 1));
    }
    previous = row;
  }
  return previous[b.length]!;
}
