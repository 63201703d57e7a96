// Golden: what llama-quantize picks (--dry-run) at seven model shapes, and the files that it made of stories260k.
import { readFileSync } from 'node:fs';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { describe, expect, it } from 'vitest';
import { chooseTypes, isMixed, MIXTURES, mixtureOf, type MixtureTensor } from './mixtures.ts';

interface Shape {
  readonly architecture: string;
  readonly hidden: number;
  readonly feedForward: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly vocabulary: number;
  readonly experts: number;
  readonly tied: boolean;
}
type Types = Readonly<Record<string, { readonly tensors: Readonly<Record<string, string | readonly string[]>> }>>;

const json = (path: string): unknown => (hasShared ? JSON.parse(readFileSync(shared(path), 'utf8')) : {});
const { models: golden = {} } = json('golden/ggml/file-types.json') as {
  models?: Readonly<Record<string, { readonly shape: Shape; readonly types: Types }>>;
};
const models = Object.entries(golden);

/** Tensors of a model by the names of the golden, block numbers filled in. */
function tensorsOf({ hidden, feedForward, layers, heads, kvHeads, vocabulary, experts, tied }: Shape): MixtureTensor[] {
  const keys = (hidden / heads) * kvHeads;
  const stack = (rows: number, columns: number) => (experts > 0 ? [experts, rows, columns] : [rows, columns]);
  const ending = experts > 0 ? '_exps' : '';
  return [
    { name: 'token_embd.weight', shape: [vocabulary, hidden] },
    ...(tied ? [] : [{ name: 'output.weight', shape: [vocabulary, hidden] }]),
    ...Array.from({ length: layers }, (_, i) => [
      { name: `blk.${i}.attn_norm.weight`, shape: [hidden] },
      { name: `blk.${i}.attn_q.weight`, shape: [hidden, hidden] },
      { name: `blk.${i}.attn_k.weight`, shape: [keys, hidden] },
      { name: `blk.${i}.attn_v.weight`, shape: [keys, hidden] },
      { name: `blk.${i}.attn_output.weight`, shape: [hidden, hidden] },
      ...(experts > 0 ? [{ name: `blk.${i}.ffn_gate_inp.weight`, shape: [experts, hidden] }] : []),
      { name: `blk.${i}.ffn_gate${ending}.weight`, shape: stack(feedForward, hidden) },
      { name: `blk.${i}.ffn_up${ending}.weight`, shape: stack(feedForward, hidden) },
      { name: `blk.${i}.ffn_down${ending}.weight`, shape: stack(hidden, feedForward) },
    ]).flat(),
  ];
}

describe.skipIf(!hasShared)('chooseTypes', () => {
  const cases = models.flatMap(([name, { shape, types }]) =>
    Object.entries(types)
      .filter(([kind]) => mixtureOf(kind.toLowerCase()) !== undefined)
      .map(([kind, { tensors }]) => ({ name, kind, shape, tensors })),
  );

  it('covers every shape with every mixture of llama.cpp that is written here', () => {
    expect(models).toHaveLength(7);
    const kinds = new Set(cases.map(({ kind }) => kind.toLowerCase()));
    const own = MIXTURES.filter(({ name, pure }) => !['f16', 'bf16', 'f32'].includes(name) && pure !== true);
    expect([...kinds].sort()).toEqual(own.map(({ name }) => name).sort());
  });

  it.each(cases)('picks what llama-quantize picks: $name as $kind', ({ kind, shape, tensors }) => {
    const { kvHeads: keyValueHeads, ...rest } = shape;
    const chosen = chooseTypes(mixtureOf(kind.toLowerCase())!, tensorsOf(shape), { ...rest, keyValueHeads }, false);
    const expected = new Map<string, string>();
    for (const [name, type] of Object.entries(tensors)) {
      if (!name.includes('*')) expected.set(name, String(type).toLowerCase());
      else {
        for (let i = 0; i < shape.layers; i++) {
          const one = typeof type === 'string' ? type : type[i]!;
          expected.set(name.replace('*', String(i)), one.toLowerCase());
        }
      }
    }
    expect(Object.fromEntries([...chosen].map(([name, { type }]) => [name, type]))).toEqual(
      Object.fromEntries(expected),
    );
  });

  it('picks what llama-quantize wrote of a model whose rows are awkward', () => {
    const { types } = json('golden/stories260k/gguf.json') as {
      types: Record<string, { tensors: Record<string, string>; fallbacks: object; fileType: number }>;
    };
    const shape = {
      architecture: 'llama',
      hidden: 64,
      feedForward: 172,
      layers: 5,
      heads: 8,
      kvHeads: 4,
      vocabulary: 512,
      experts: 0,
      tied: true,
    };
    const { kvHeads: keyValueHeads, ...rest } = shape;
    let checked = 0;
    for (const [kind, { tensors, fallbacks, fileType }] of Object.entries(types)) {
      const mixture = mixtureOf(kind.toLowerCase());
      if (mixture === undefined) continue;
      expect(fileType).toBe(mixture.fileType);
      const chosen = chooseTypes(mixture, tensorsOf(shape), { ...rest, keyValueHeads }, false);
      for (const [name, { type, insteadOf }] of chosen) {
        expect(`${kind} ${name} ${type}`).toBe(`${kind} ${name} ${tensors[name]!.toLowerCase()}`);
        // token_embd is chosen as q8_0 at once where the base does not fit.
        if (insteadOf !== null) expect(Object.keys(fallbacks)).toContain(name);
      }
      checked += 1;
    }
    expect(checked).toBeGreaterThan(18);
  });
});

describe('mixtures', () => {
  it('leave vectors, norms, routers and position tables alone', () => {
    const of = (name: string, ...shape: number[]) => isMixed({ name, shape });
    expect(of('blk.0.attn_q.weight', 64, 64)).toBe(true);
    expect(of('blk.0.attn_q.bias', 64)).toBe(false);
    expect(of('blk.0.attn_q_norm.weight', 4, 64)).toBe(false);
    expect(of('blk.0.ffn_gate_inp.weight', 8, 64)).toBe(false);
    expect(of('position_embd.weight', 64, 64)).toBe(false);
  });

  it('spend more on the first blocks of q4_0 where importance is known, and less on those of iq4', () => {
    const model = { architecture: 'llama', layers: 16, heads: 4, keyValueHeads: 4, experts: 0 };
    const tensors = Array.from({ length: 16 }, (_, i) => ({ name: `blk.${i}.ffn_down.weight`, shape: [256, 256] }));
    const pick = (kind: string, known: boolean) =>
      chooseTypes(mixtureOf(kind)!, tensors, model, known).get('blk.0.ffn_down.weight')!.type;
    expect([pick('q4_0', false), pick('q4_0', true)]).toEqual(['q4_0', 'q4_1']);
    expect([pick('q5_0', false), pick('q5_0', true)]).toEqual(['q5_0', 'q5_1']);
    expect([pick('iq4_xs', false), pick('iq4_xs', true)]).toEqual(['q5_k', 'iq4_xs']);
    expect(mixtureOf('q4_k')!.name).toBe('q4_k_m');
  });
});
