import { format } from 'prettier';
import { expect, it } from 'vitest';
import { supportDocument } from './support-table.fixture.ts';

it('docs/support.md is current', async () => {
  const text = await format(supportDocument(), { parser: 'markdown', printWidth: 120 });
  await expect(text).toMatchFileSnapshot('../../../docs/support.md');
});
