// What a hub says of a repository, damaged at random. One test for each way to be wrong is in `node/hub/open-hub-model.test.ts`.
import { isPithError, randomStream } from '@pith/tensor-core';
import { expect, it } from 'vitest';
import { mutate } from '../testing/mutate.fixture.ts';
import type { HubClient } from './hub-client.ts';
import { MAX_HUB_FILES, openHubRepository } from './hub-repository.ts';

const ID = 'org/model';
const COMMIT = '0123456789abcdef'.repeat(2) + '01234567';

const INFO = {
  _id: 'a'.repeat(24),
  id: ID,
  sha: COMMIT,
  private: false,
  gated: false,
  downloads: 7,
  likes: 1,
  lastModified: '2026-01-01T00:00:00.000Z',
};
const large = (path: string, digit: string): object => ({
  type: 'file',
  path,
  size: 9,
  oid: 'e'.repeat(40),
  lfs: { oid: digit.repeat(64), size: 9, pointerSize: 130 },
  xetHash: 'f'.repeat(64),
});
const LISTING = [
  { type: 'file', path: 'config.json', size: 2, oid: 'a'.repeat(40) },
  large('model.safetensors', 'b'),
  large('onnx/model.onnx', 'c'),
  { type: 'directory', path: 'onnx', size: 0, oid: 'd'.repeat(40) },
];

/** A hub that answers with these texts. */
function hubOf(info: string, listing: string): HubClient {
  const answer = (text: string, url: string): Response =>
    Object.defineProperty(new Response(text, { headers: { 'content-type': 'application/json' } }), 'url', {
      value: url,
    });
  return {
    endpoint: 'https://hub.test',
    authorized: false,
    attempts: 1,
    pause: () => Promise.resolve(),
    fetch: () => (input) => {
      const url = input instanceof Request ? input.url : String(input);
      return Promise.resolve(answer(url.includes('/tree/') ? listing : info, url));
    },
  };
}

it('reads files with their sizes and hashes', async () => {
  const { commit, files } = await openHubRepository(hubOf(JSON.stringify(INFO), JSON.stringify(LISTING)), ID, 'main');
  expect(commit).toBe(COMMIT);
  expect(files).toEqual([
    { path: 'config.json', byteLength: 2, hash: 'a'.repeat(40), hashKind: 'git-sha1' },
    { path: 'model.safetensors', byteLength: 9, hash: 'b'.repeat(64), hashKind: 'sha256' },
    { path: 'onnx/model.onnx', byteLength: 9, hash: 'c'.repeat(64), hashKind: 'sha256' },
  ]);
});

it('2,000 damaged answers end in files that stay below their directory, or in an error of ours', async () => {
  const random = randomStream(11, 'hub listings');
  const texts = [INFO, LISTING].map((value) => new TextEncoder().encode(JSON.stringify(value)));
  const outcomes = new Map<string, number>();
  for (let round = 0; round < 2000; round++) {
    const [info, listing] = texts.map((text, i) =>
      new TextDecoder().decode((round % 4 === 0) === (i === 0) ? mutate(text, random) : text),
    );
    const outcome = await openHubRepository(hubOf(info!, listing!), ID, 'main').then(
      ({ commit, files }) => {
        expect(commit).toMatch(/^[0-9a-f]{40}$/);
        expect(files.length).toBeLessThanOrEqual(MAX_HUB_FILES);
        for (const { path, byteLength, hash } of files) {
          expect(
            path.split('/').every((part) => !['', '.', '..'].includes(part)),
            path,
          ).toBe(true);
          expect(Number.isSafeInteger(byteLength) && byteLength >= 0).toBe(true);
          expect(hash).toMatch(/^(?:[0-9a-f]{40}|[0-9a-f]{64})$/);
        }
        return 'files';
      },
      (error: unknown) => {
        if (!isPithError(error)) throw error;
        return error.code;
      },
    );
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
  }
  expect([...outcomes.keys()].sort()).toEqual(['HUB_FILE_NAME_INVALID', 'HUB_LISTING_INVALID', 'files']);
});
