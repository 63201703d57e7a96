// WordPiece ids and embeddings of a tiny BERT. Provenance: tokenizers 0.23.3 (`Tokenizer.encode`, `decode`) and transformers
// 5.17.0 with torch 2.10.0, f32 on the CPU: `BertModel.from_pretrained(...)(ids, token_type_ids).last_hidden_state`, weights by
// `filledValues` of the names with the prefix `bert.`.
import { cpuDevice } from '@pith/tensor-core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { generate } from '../generate/generate.ts';
import { bertEmbeddings as reference, bertModel } from '../testing/bert.fixture.ts';
import { createTokenizer } from '../tokenizer/tokenizer.ts';
import { embeddings } from './embeddings.ts';
import { logits } from './logits.ts';
import { perplexity } from './perplexity.ts';

const tokenizer = createTokenizer(reference.tokenizer);
const device = cpuDevice({ threads: 1 });
afterAll(() => device.dispose());

describe('WordPiece', () => {
  it.each(reference.encoded)('$text', ({ text, ids, plain }) => {
    expect([...tokenizer.encode(text)]).toEqual(plain);
    expect([...tokenizer.encodeWithSpecial(text).ids]).toEqual(ids);
  });

  it('two texts with their segments, and back', () => {
    const [first, second] = reference.encoded;
    const { ids, segments } = tokenizer.encodeWithSpecial(first.text, second.text);
    expect([...ids]).toEqual(reference.pair.ids);
    expect([...segments]).toEqual(reference.pair.segments);
    expect(tokenizer.decode(tokenizer.encodeWithSpecial(first.text).ids, { skipSpecial: true })).toBe(
      reference.decoded,
    );
  });
});

describe('embeddings', () => {
  const close = (vector: Float32Array, expected: readonly number[]) =>
    expected.forEach((value, i) => expect(Math.abs(vector[i] - value)).toBeLessThan(3e-5));

  it('mean, first token, length 1, and of two texts', async () => {
    const model = bertModel();
    const [{ text }] = reference.encoded;
    const [mean, other] = await embeddings(
      model,
      [text, { ids: reference.pair.ids, segments: reference.pair.segments }],
      {
        device,
      },
    );
    close(mean, reference.mean);
    close(other, reference.pairMean);
    close((await embeddings(model, [text], { device, pooling: 'cls' }))[0], reference.cls);
    const [scaled, again] = await embeddings(model, [text, text], { device, normalize: true });
    close(scaled, reference.meanNormalized);
    expect([...again]).toEqual([...scaled]);
  });

  it('what such a model cannot do is refused by name', async () => {
    const model = bertModel();
    await expect(logits(model, [1, 2], { device })).rejects.toMatchObject({ code: 'MODEL_WITHOUT_HEAD' });
    await expect(perplexity(model, { device, text: 'the cat' })).rejects.toMatchObject({ code: 'MODEL_WITHOUT_HEAD' });
    await expect(generate(model, { device, prompt: 'the' })).rejects.toMatchObject({ code: 'MODEL_WITHOUT_HEAD' });
    const long = { ids: new Int32Array(33).fill(5) };
    await expect(embeddings(model, [long], { device })).rejects.toMatchObject({ code: 'EVALUATION_OPTIONS' });
    await expect(embeddings(model, [{ ids: [5], segments: [2] }], { device })).rejects.toThrow(/0 to 1/);
  });
});
