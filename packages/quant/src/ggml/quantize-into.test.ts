import { denseWeight, fromF32, localHost, memoryBytes } from '@pith/tensor-core';
import { expect, it } from 'vitest';
import { ggmlByteLength, quantizeGgmlInto } from './quantize-into.ts';
import { quantizeGgmlRows } from './quantize-rows.ts';
import { interleavedRows } from './row-order.ts';

it('writes rows in the order asked for', async () => {
  const columns = 64;
  const shape = [8, columns];
  const values = Float32Array.from({ length: 8 * columns }, (_, i) => Math.sin(i));
  const weight = denseWeight({ name: 'w', dtype: 'f32', shape, source: memoryBytes(fromF32('f32', values)) });
  const bytes = new Uint8Array(ggmlByteLength('q4_0', shape));
  const rowOrder = interleavedRows(8, 4);
  expect([...rowOrder]).toEqual([0, 2, 1, 3, 4, 6, 5, 7]);
  await quantizeGgmlInto({ weight, type: 'q4_0', rowOrder }, { kind: 'memory', bytes }, { host: localHost() });
  const moved = Float32Array.from(
    values,
    (_, i) => values[rowOrder[Math.floor(i / columns)]! * columns + (i % columns)]!,
  );
  expect(bytes).toEqual(quantizeGgmlRows('q4_0', moved, columns));
});
