// One vitest configuration for every package: sources are resolved without a build, and a test that prints to the
// console fails.
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const setup = fileURLToPath(new URL('./setup.mjs', import.meta.url));
const conditions = ['@pith/source', 'node', 'import', 'default'];

/** @param {import('vitest/config').ViteUserConfig['test']} [overrides] */
export function packageTests(overrides = {}) {
  return defineConfig({
    resolve: { conditions },
    ssr: { resolve: { conditions, externalConditions: conditions } },
    test: {
      include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
      pool: 'forks',
      maxWorkers: 2,
      testTimeout: 60_000,
      hookTimeout: 60_000,
      setupFiles: [setup],
      // As the CPU device does: tests that load ONNX Runtime themselves report nothing either.
      env: { ORT_DISABLE_TELEMETRY: '1' },
      reporters: ['default', ['json', { outputFile: '.vitest/results.json' }]],
      ...overrides,
    },
  });
}
