// What does not fit, as lines for a reader.
import type { PlanProblem } from './types.ts';

/** Most names in a line that stands for several problems. */
const NAMES_SHOWN = 8;

/** One line for each problem; those that say the same of several tensors share one, which names the others. */
export function problemLines(problems: readonly PlanProblem[]): string[] {
  const alike = new Map<string, PlanProblem[]>();
  for (const problem of problems) {
    // Messages name the weight or the module that it belongs to.
    const [name, path] = [problem.name, problem.name.replace(/\.weight$/, '')];
    const said = `${problem.code} ${problem.message.replaceAll(name, '').replaceAll(`"${path}"`, '')}`;
    alike.set(said, [...(alike.get(said) ?? []), problem]);
  }
  return [...alike.values()].map(([first, ...others]) => {
    if (others.length === 0) return first!.message;
    const names = others.slice(0, NAMES_SHOWN).map(({ name }) => name);
    const left = others.length - names.length;
    return `${first!.message}\n    the same of ${names.join(', ')}${left > 0 ? `, and ${left} more` : ''}`;
  });
}
