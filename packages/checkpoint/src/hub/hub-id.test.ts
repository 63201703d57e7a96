import { describe, expect, it } from 'vitest';
import { parseHubId } from './hub-id.ts';

describe('parseHubId', () => {
  it('reads names, revisions and files', () => {
    expect(parseHubId('org/name')).toEqual({ id: 'org/name', revision: 'main' });
    expect(parseHubId('org/Name-1.5_b@v2.0')).toEqual({ id: 'org/Name-1.5_b', revision: 'v2.0' });
    expect(parseHubId('org/name@refs/pr/3')).toEqual({ id: 'org/name', revision: 'refs/pr/3' });
    expect(parseHubId('org/name:a/model.gguf')).toEqual({ id: 'org/name', revision: 'main', file: 'a/model.gguf' });
    expect(parseHubId('org/name@dev:Q4_K_M')).toEqual({ id: 'org/name', revision: 'dev', file: 'Q4_K_M' });
  });

  it.each([
    'name',
    './org/name',
    '/org/name',
    'org/name/',
    'a/b/c',
    'org/',
    '../name',
    'org/..',
    'org/na--me',
    'org/name.git',
    'org/.name',
    'org/name.',
    '-org/name',
    'org/na me',
    'org/name@',
    'org/name@../../x',
    'org/name@a//b',
    'org/name@/etc',
    'org/name@-x',
    'org/name@.hidden',
    'org/name@a\\b',
    'org/name:',
    'C:/models',
    'https://host/org/name',
    `org/${'n'.repeat(97)}`,
    `org/name@${'v'.repeat(201)}`,
  ])('knows %s for something else', (text) => {
    expect(parseHubId(text)).toBeUndefined();
  });
});
