// Post-processors of a tokenizer.json: the special tokens that stand around one text or two ([CLS] ... [SEP]), and the segment of
// each token.
import { list, type Component } from './normalizers.ts';
import { unsupported } from './pattern.ts';

/** Ids with the segment of each. */
export interface Encoded {
  /** Token ids. */
  readonly ids: readonly number[];
  /** 0 for the first text, 1 for the second, unless the template says otherwise. */
  readonly segments: readonly number[];
}

/** Puts special tokens around the ids of one text or two. */
export type PostProcessor = (text: Encoded, pair?: Encoded) => Encoded;

const PART = 'post_processor';

const all = (id: number, ids: readonly number[]): Encoded => ({ ids, segments: ids.map(() => id) });

function concat(...parts: readonly (Encoded | undefined)[]): Encoded {
  return {
    ids: parts.flatMap((part) => part?.ids ?? []),
    segments: parts.flatMap((part) => part?.segments ?? []),
  };
}

/** Both texts behind one another, nothing added. */
const plain: PostProcessor = (text, pair) => concat(text, pair && all(1, pair.ids));

interface TemplateItem {
  readonly Sequence?: { readonly id?: unknown; readonly type_id?: unknown };
  readonly SpecialToken?: { readonly id?: unknown; readonly type_id?: unknown };
}

const segmentOf = (given: unknown): number => (typeof given === 'number' ? given : 0);

function template(component: Component): PostProcessor {
  const known = (component['special_tokens'] ?? {}) as Record<string, { readonly ids?: unknown } | undefined>;
  const idsOf = (name: unknown): readonly number[] => {
    const ids = list(typeof name === 'string' && Object.hasOwn(known, name) ? known[name]?.ids : undefined);
    if (ids.length > 0 && ids.every((id) => Number.isInteger(id) && (id as number) >= 0)) return ids as number[];
    throw unsupported(PART, `a template with ${JSON.stringify(name)}, which is not among its special_tokens`);
  };
  const read = (given: unknown) =>
    list(given).map((item): ((text: Encoded, pair?: Encoded) => Encoded) => {
      const { Sequence: sequence, SpecialToken: special } = (item ?? {}) as TemplateItem;
      if (special) {
        const tokens = all(segmentOf(special.type_id), idsOf(special.id));
        return () => tokens;
      }
      if (sequence?.id !== 'A' && sequence?.id !== 'B') throw unsupported(PART, JSON.stringify(item) ?? 'nothing');
      return (text, pair) => all(segmentOf(sequence.type_id), (sequence.id === 'A' ? text : pair)?.ids ?? []);
    });
  const single = read(component['single']);
  const double = read(component['pair']);
  return (text, pair) => concat(...(pair ? double : single).map((item) => item(text, pair)));
}

function around(component: Component, twice: boolean): PostProcessor {
  const idOf = (member: string): number => {
    const pair = component[member];
    if (Array.isArray(pair) && Number.isInteger(pair[1])) return pair[1] as number;
    throw unsupported(PART, `${String(component.type)} without ${member}`);
  };
  const [start, end] = [idOf('cls'), idOf('sep')];
  return (text, pair) =>
    concat(
      all(0, [start, ...text.ids, end]),
      // RoBERTa counts no segments and puts an end before the second text as well.
      pair && (twice ? all(0, [end, ...pair.ids, end]) : all(1, [...pair.ids, end])),
    );
}

/**
 * A post-processor.
 *
 * @throws PithError `TOKENIZER_UNSUPPORTED` naming what is not known.
 */
export function createPostProcessor(given: unknown): PostProcessor {
  if (given === null || given === undefined) return plain;
  const component = given as Component;
  switch (component.type) {
    case 'TemplateProcessing':
      return template(component);
    case 'BertProcessing':
      return around(component, false);
    case 'RobertaProcessing':
      return around(component, true);
    // Moves offsets only.
    case 'ByteLevel':
      return plain;
    case 'Sequence': {
      const steps = list(component['processors']).filter((step) => (step as Component | null)?.type !== 'ByteLevel');
      if (steps.length > 1) throw unsupported(PART, 'a Sequence of several that add tokens');
      return createPostProcessor(steps[0]);
    }
    default:
      throw unsupported(PART, JSON.stringify(component.type) ?? 'one without a type');
  }
}
