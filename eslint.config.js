// Lint rules of the whole repository. The import arrows of the design (tensor-core <- checkpoint <- model <-
// techniques <- pith) are enforced here for the editor and once more, with the manifests, by tooling/checks.
import tseslint from 'typescript-eslint';
import { ARROWS, packageNames } from './tooling/checks/arrows.mjs';

const arrowRules = Object.entries(ARROWS).map(([folder, allowed]) => ({
  files: [`packages/${folder}/src/**`],
  rules: {
    'no-restricted-imports': [
      'error',
      {
        patterns: packageNames
          .filter((name) => !allowed.includes(name))
          .map((name) => ({
            regex: `^${name}(/.*)?$`,
            message: `${folder} may import only: ${allowed.join(', ') || 'no package of this repository'}.`,
          })),
      },
    ],
  },
}));

export default tseslint.config(
  {
    ignores: [
      '**/dist/**',
      '**/build/**',
      '**/generated/**',
      '**/*_pb.ts',
      '**/.turbo/**',
      '**/.vitest/**',
      'docs/site/**',
      'packages/tensor-core/assembly/**',
    ],
  },
  ...tseslint.configs.recommended,
  {
    files: ['**/*.ts'],
    languageOptions: {
      parserOptions: {
        projectService: { allowDefaultProject: ['vitest.config.ts'] },
        tsconfigRootDir: import.meta.dirname,
      },
    },
    rules: {
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/await-thenable': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
    },
  },
  {
    files: ['packages/*/src/**/*.{ts,js}'],
    ignores: ['**/*.test.ts', '**/*.fixture.ts'],
    rules: {
      'no-console': 'error',
      'no-restricted-properties': [
        'error',
        { object: 'Math', property: 'round', message: 'Say which rounding is meant: half to even, half away, floor.' },
      ],
    },
  },
  {
    files: ['packages/*/src/**/*.ts'],
    ignores: ['**/*.test.ts', '**/*.fixture.ts', 'packages/pith/src/**', '**/src/node/**'],
    rules: {
      'no-restricted-syntax': [
        'error',
        {
          selector: "ImportDeclaration[source.value=/^node:/][importKind!='type']",
          message: 'Code outside src/node/ also runs in a browser: no node: import.',
        },
      ],
    },
  },
  ...arrowRules,
);
