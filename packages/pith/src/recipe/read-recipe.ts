// A recipe from text: YAML parsed to data only, checked against the schema, paths resolved against the recipe's directory.
import { existsSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { dirname, isAbsolute, join } from 'node:path';
import { parseHubId } from '@pith/checkpoint';
import { isPithError, PithError, validate } from '@pith/tensor-core';
import { isScalar, parseDocument, visit } from 'yaml';
import { checkStageReferences } from './order-stages.ts';
import { RecipeSchema } from './recipe-schema.ts';
import type { Recipe } from './types.ts';

/** Largest recipe that is read. */
const MAX_BYTES = 1024 * 1024;
/** Most nodes of a recipe. */
const MAX_NODES = 20_000;
/** Most values that aliases stand for: nested ones multiply. */
const MAX_ALIASES = 100;

/**
 * Reads a recipe from a YAML or JSON file. Paths in it count from its directory.
 *
 * @throws PithError `RECIPE_NOT_READABLE`, and those of {@link parseRecipe}.
 */
export async function readRecipe(path: string): Promise<Recipe> {
  let text: string;
  try {
    const { size } = await stat(path);
    if (size > MAX_BYTES) throw tooLarge(path, size);
    text = await readFile(path, 'utf8');
  } catch (cause) {
    if (isPithError(cause)) throw cause;
    const { code = 'unknown' } = cause as NodeJS.ErrnoException;
    const why = code === 'ENOENT' ? 'it does not exist' : code === 'EISDIR' ? 'it is a directory' : code;
    throw new PithError('RECIPE_NOT_READABLE', `read recipe: ${path} must be a readable file: ${why}`, {
      details: { path, systemCode: code },
      cause,
    });
  }
  return resolvePaths(parseRecipe(text, path), dirname(path));
}

/**
 * Parses the text of a recipe. Nothing in it is run, tags other than those of plain data are refused.
 *
 * @param name of the recipe in messages.
 * @throws PithError `RECIPE_TOO_LARGE`, `RECIPE_NOT_YAML`, `RECIPE_INVALID` (every offender; unknown keys with what was
 * probably meant), `RECIPE_REFERENCE` (unknown, ambiguous, or going round in a circle).
 */
export function parseRecipe(text: string, name = 'recipe'): Recipe {
  if (Buffer.byteLength(text) > MAX_BYTES) throw tooLarge(name, Buffer.byteLength(text));
  let value: unknown;
  try {
    const document = parseDocument(text, { schema: 'core', merge: false, uniqueKeys: true, prettyErrors: true });
    const [fault] = [...document.errors, ...document.warnings];
    if (fault !== undefined) throw notYaml(name, fault.message.trim());
    checkNodes(document, name);
    value = document.toJS({ maxAliasCount: MAX_ALIASES });
  } catch (cause) {
    // Aliases that multiply, brackets nested beyond the stack.
    throw isPithError(cause) ? cause : notYaml(name, (cause as Error).message, cause);
  }
  return checkRecipe(value, name);
}

/**
 * Checks a recipe that is an object already, and fills in the defaults.
 *
 * @throws PithError `RECIPE_INVALID`, `RECIPE_REFERENCE`.
 */
export function checkRecipe(value: unknown, name = 'recipe'): Recipe {
  const recipe = validate(RecipeSchema, value, { operation: name, code: 'RECIPE_INVALID' });
  checkStageReferences(recipe.stages, Object.keys(recipe.models ?? {}), name);
  return recipe;
}

/** The same recipe, type-checked where it is written. */
export function defineRecipe(recipe: Recipe): Recipe {
  return checkRecipe(recipe);
}

/** Relative paths of a recipe count from the directory that it lies in. */
function resolvePaths(recipe: Recipe, directory: string): Recipe {
  const resolve = (path: string): string => (isAbsolute(path) ? path : join(directory, path));
  const { calibration, evaluate, models } = recipe;
  return {
    ...recipe,
    ...(models && {
      models: Object.fromEntries(Object.entries(models).map(([name, path]) => [name, modelPath(path, resolve)])),
    }),
    ...(calibration && { calibration: { ...calibration, text: resolve(calibration.text) } }),
    ...(evaluate && { evaluate: { ...evaluate, text: resolve(evaluate.text) } }),
    stages: recipe.stages.map((stage) => ({
      ...stage,
      ...(stage.data && { data: { ...stage.data, text: resolve(stage.data.text) } }),
      ...(stage.distill && { distill: { ...stage.distill, ...studentPath(stage.distill.student, resolve) } }),
    })),
  };
}

/** A model beside the first: a path, or a hub id where there is no such path. */
function modelPath(path: string, resolve: (path: string) => string): string {
  const resolved = resolve(path);
  return parseHubId(path) !== undefined && !existsSync(resolved) ? path : resolved;
}

/** A student that is the path of a config. */
function studentPath(student: unknown, resolve: (path: string) => string) {
  return typeof student === 'string' && student.endsWith('.json') ? { student: resolve(student) } : {};
}

/** What the parser lets through and a recipe never needs: very many nodes, keys that are collections. */
function checkNodes(document: ReturnType<typeof parseDocument>, name: string): void {
  let total = 0;
  visit(document, {
    Node: () => {
      total++;
      if (total > MAX_NODES) throw tooLarge(name, total, 'nodes', MAX_NODES);
    },
    Pair: (_, { key }) => {
      if (!isScalar(key)) throw notYaml(name, 'keys must be plain text');
    },
  });
}

function notYaml(name: string, why: string, cause?: unknown): PithError {
  return new PithError('RECIPE_NOT_YAML', `${name}: must be YAML of plain data: ${why}`, {
    details: { name, why },
    cause,
  });
}

function tooLarge(name: string, size: number, unit = 'bytes', limit = MAX_BYTES): PithError {
  return new PithError(
    'RECIPE_TOO_LARGE',
    `${name}: may have at most ${limit} ${unit}, it has ${size}; a recipe is a page`,
    {
      details: { name, size, unit, limit },
    },
  );
}
