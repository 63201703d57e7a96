// Checks configuration against a zod schema and reports all offenders at once.
import type { z } from 'zod';
import { PithError } from '../errors/pith-error.ts';
import { nearestWord } from './suggest.ts';

/** One offending value. */
export interface ValidationProblem {
  /** Where it lies: `scheme.groupSize`, `ignore[2]`; empty for the value itself. */
  readonly path: string;
  /** What is wrong, without the path. */
  readonly message: string;
}

/** How the error reads. */
export interface ValidateOptions {
  /** Opens the message: `quantize options`. */
  readonly operation: string;
  /** Code of the error; `CONFIG_INVALID` when left out. */
  readonly code?: string;
}

/**
 * The parsed value, frozen through and through, with the defaults of the schema filled in.
 *
 * @throws PithError `CONFIG_INVALID` (or the given code) that lists every offender; details: `problems`
 * @example validate(z.strictObject({ bits: z.int() }), { bist: 4 }, { operation: 'quantize options' })
 * // quantize options: bits: must be a number, it is missing; bist: unknown, did you mean bits?
 */
export function validate<S extends z.ZodType>(schema: S, value: unknown, options: ValidateOptions): z.output<S> {
  const parsed = schema.safeParse(value, { reportInput: true });
  if (parsed.success) return deepFreeze(parsed.data);
  const problems = validationProblems(parsed.error, schema);
  const { operation, code = 'CONFIG_INVALID' } = options;
  const listed = problems.map(({ path, message }) => (path === '' ? message : `${path}: ${message}`));
  throw new PithError(code, `${operation}: ${listed.join('; ')}`, { details: { operation, problems } });
}

/** The offenders of a zod error, one for each value; `schema` lets unknown keys be told what they were meant to be. */
export function validationProblems(error: z.ZodError, schema?: z.ZodType): ValidationProblem[] {
  return error.issues.flatMap((issue) => problemsOf(issue, schema));
}

function problemsOf(issue: z.core.$ZodIssue, schema: z.ZodType | undefined): ValidationProblem[] {
  const path = pathText(issue.path);
  switch (issue.code) {
    case 'unrecognized_keys': {
      const known = schema === undefined ? [] : keysAt(schema, issue.path);
      return issue.keys.map((key) => ({
        path: pathText([...issue.path, key]),
        message: `unknown${suggestion(key, known) || (known.length > 0 ? `, known are ${known.join(', ')}` : '')}`,
      }));
    }
    case 'invalid_value': {
      const choices = issue.values.map(String);
      const meant = typeof issue.input === 'string' ? suggestion(issue.input, choices) : '';
      return [{ path, message: `must be ${listed(choices)}, ${got(issue.input)}${meant}` }];
    }
    case 'invalid_type':
      return [{ path, message: `must be ${TYPE_NAMES.get(issue.expected) ?? issue.expected}, ${got(issue.input)}` }];
    case 'too_small':
      return [
        { path, message: `must be ${bound(issue, 'at least', 'more than', issue.minimum)}, ${got(issue.input)}` },
      ];
    case 'too_big':
      return [{ path, message: `must be ${bound(issue, 'at most', 'less than', issue.maximum)}, ${got(issue.input)}` }];
    case 'invalid_union':
      return unionProblems(issue, path, schema);
    default:
      return [{ path, message: issue.message }];
  }
}

function unionProblems(
  issue: z.core.$ZodIssueInvalidUnion,
  path: string,
  schema: z.ZodType | undefined,
): ValidationProblem[] {
  const field = issue.discriminator;
  const choices = field === undefined || schema === undefined ? [] : discriminatorValues(schema, issue.path, field);
  if (field === undefined || choices.length === 0) return [{ path, message: `${issue.message}, ${got(issue.input)}` }];
  const held = typeof issue.input === 'object' && issue.input !== null;
  const value = held ? (issue.input as Record<string, unknown>)[field] : issue.input;
  const meant = typeof value === 'string' ? suggestion(value, choices) : '';
  // zod 4 may or may not end the path with the discriminator itself
  const at = issue.path.at(-1) === field ? path : pathText([...issue.path, field]);
  return [{ path: at, message: `must be ${listed(choices)}, ${got(value)}${meant}` }];
}

const TYPE_NAMES = new Map<string, string>([
  ['int', 'an integer'],
  ['number', 'a number'],
  ['string', 'a string'],
  ['boolean', 'true or false'],
  ['array', 'an array'],
  ['object', 'an object'],
]);

function bound(issue: { origin: string; inclusive?: boolean }, atLeast: string, more: string, limit: unknown): string {
  const what = `${issue.inclusive === false ? more : atLeast} ${String(limit)}`;
  return issue.origin === 'string' ? `${what} characters long` : issue.origin === 'array' ? `${what} items long` : what;
}

function got(input: unknown): string {
  if (input === undefined) return 'it is missing';
  const text = typeof input === 'bigint' ? `${input}` : (JSON.stringify(input) ?? String(input));
  const shown = typeof input === 'number' ? String(input) : text;
  return `got ${shown.length > 60 ? `${shown.slice(0, 57)}...` : shown}`;
}

function listed(choices: readonly string[]): string {
  return choices.length === 1 ? choices[0]! : `one of ${choices.join(', ')}`;
}

function suggestion(word: string, known: readonly string[]): string {
  const near = nearestWord(word, known);
  return near === undefined ? '' : `, did you mean ${near}?`;
}

function pathText(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, key) => {
    if (typeof key === 'number') return `${text}[${key}]`;
    return text === '' ? String(key) : `${text}.${String(key)}`;
  }, '');
}

type Definition = {
  readonly type?: string;
  readonly shape?: Record<string, z.ZodType>;
  readonly innerType?: z.ZodType;
  readonly in?: z.ZodType;
  readonly element?: z.ZodType;
  readonly options?: readonly z.ZodType[];
  readonly valueType?: z.ZodType;
  readonly values?: readonly unknown[];
};

const definitionOf = (schema: z.ZodType): Definition => schema._zod.def as unknown as Definition;

/** The schemas that a schema may stand for: wrappers such as `optional` are taken off, unions taken apart. */
function unwrap(schema: z.ZodType): z.ZodType[] {
  const { innerType, in: input, options } = definitionOf(schema);
  if (innerType !== undefined) return unwrap(innerType);
  if (input !== undefined) return unwrap(input);
  return options === undefined ? [schema] : options.flatMap(unwrap);
}

function schemasAt(schema: z.ZodType, path: readonly PropertyKey[]): z.ZodType[] {
  let current = unwrap(schema);
  for (const key of path) {
    current = current.flatMap((one) => {
      const { shape, element, valueType } = definitionOf(one);
      const next = shape?.[String(key)] ?? element ?? valueType;
      return next === undefined ? [] : unwrap(next);
    });
  }
  return current;
}

function keysAt(schema: z.ZodType, path: readonly PropertyKey[]): string[] {
  return [...new Set(schemasAt(schema, path).flatMap((one) => Object.keys(definitionOf(one).shape ?? {})))];
}

function discriminatorValues(schema: z.ZodType, path: readonly PropertyKey[], field: string): string[] {
  const parent = path.at(-1) === field ? path.slice(0, -1) : path;
  const fields = schemasAt(schema, parent).flatMap((one) => definitionOf(one).shape?.[field] ?? []);
  return [...new Set(fields.flatMap((one) => definitionOf(one).values ?? []).map(String))];
}

/** Freezes objects and arrays of plain data; typed arrays and class instances are left alone. */
function deepFreeze<T>(value: T): T {
  const plain =
    Array.isArray(value) ||
    (typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype);
  if (plain && !Object.isFrozen(value)) {
    Object.freeze(value);
    Object.values(value as object).forEach(deepFreeze);
  }
  return value;
}
