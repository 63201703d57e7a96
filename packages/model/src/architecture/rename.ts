/** Checkpoints of a model without its head leave its prefix out: the rule that puts it back before these modules. */
export function withPrefix(prefix: string, modules: readonly string[]): (name: string) => string {
  const bare = new RegExp(`^(?:${modules.join('|')})\\.`);
  return (name) => (bare.test(name) ? `${prefix}.${name}` : name);
}
