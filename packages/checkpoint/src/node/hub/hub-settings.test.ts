import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readHubSettings } from './hub-settings.ts';

let home: string;
beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), 'pith-hub-settings-'));
  writeFileSync(join(home, 'token'), 'hf_from_file\n');
  writeFileSync(join(home, 'other'), ' hf_other ');
});
afterAll(() => rmSync(home, { recursive: true }));

describe('readHubSettings', () => {
  it('knows the defaults of other tools', async () => {
    expect(await readHubSettings({ XDG_CACHE_HOME: '/nowhere' })).toEqual({
      endpoint: 'https://huggingface.co',
      cacheDirectory: '/nowhere/huggingface/hub',
      offline: false,
    });
    const { cacheDirectory } = await readHubSettings({ HF_TOKEN: 'hf_x' });
    expect(cacheDirectory).toBe(join(homedir(), '.cache', 'huggingface', 'hub'));
  });

  it('reads the token of a login, and the places that are named', async () => {
    expect(await readHubSettings({ HF_HOME: home })).toMatchObject({
      token: 'hf_from_file',
      cacheDirectory: join(home, 'hub'),
    });
    expect(
      await readHubSettings({ HF_HOME: home, HF_HUB_CACHE: '~/hub', HF_TOKEN_PATH: join(home, 'other') }),
    ).toMatchObject({ token: 'hf_other', cacheDirectory: join(homedir(), 'hub') });
    expect(await readHubSettings({ HF_HOME: home, HUGGINGFACE_HUB_CACHE: '/c' })).toMatchObject({
      cacheDirectory: '/c',
    });
  });

  it('prefers HF_TOKEN, and passes the file over when asked to', async () => {
    expect(await readHubSettings({ HF_HOME: home, HF_TOKEN: ' hf_mine ' })).toMatchObject({ token: 'hf_mine' });
    expect(await readHubSettings({ HF_HOME: home, HF_TOKEN: '' })).toMatchObject({ token: 'hf_from_file' });
    expect(await readHubSettings({ HF_HOME: home, HF_HUB_DISABLE_IMPLICIT_TOKEN: '1' })).not.toHaveProperty('token');
  });

  it('knows what means yes', async () => {
    for (const value of ['1', 'true', 'YES', 'On']) {
      expect(await readHubSettings({ HF_HOME: '/nowhere', HF_HUB_OFFLINE: value })).toMatchObject({ offline: true });
    }
    expect(await readHubSettings({ HF_HOME: '/nowhere', TRANSFORMERS_OFFLINE: '1' })).toMatchObject({ offline: true });
    for (const value of ['0', 'no', '']) {
      expect(await readHubSettings({ HF_HOME: '/nowhere', HF_HUB_OFFLINE: value })).toMatchObject({ offline: false });
    }
  });

  it('says when the token file cannot be read', async () => {
    const path = join(home, 'folder');
    mkdirSync(path, { recursive: true });
    chmodSync(path, 0o700);
    await expect(readHubSettings({ HF_HOME: home, HF_TOKEN_PATH: path })).rejects.toMatchObject({
      code: 'HUB_TOKEN_UNREADABLE',
    });
  });
});
