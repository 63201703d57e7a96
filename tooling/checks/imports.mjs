// Finds what a source file imports, and which of it a package may not import.
import { packageNames } from './arrows.mjs';

const PATTERNS = [
  /\b(?:import|export)\s[^'";]*?\bfrom\s*['"]([^'"]+)['"]/g,
  /\bimport\s*['"]([^'"]+)['"]/g,
  /\bimport\s*\(\s*['"]([^'"]+)['"]\s*\)/g,
];

/**
 * The module specifiers of static, side-effect and dynamic imports, type imports and re-exports.
 * @param {string} text source of a TypeScript or JavaScript file
 * @returns {string[]}
 */
export function importSpecifiers(text) {
  const code = text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');
  const found = new Set();
  for (const pattern of PATTERNS) for (const match of code.matchAll(pattern)) found.add(match[1]);
  return [...found];
}

/**
 * What is wrong with the imports of one file, a sentence each.
 * @param {string[]} specifiers
 * @param {{ allowed: readonly string[], declared: readonly string[], isTest: boolean }} context `allowed`: packages of this
 * repository that may be imported; `declared`: the manifest's dependencies
 * @returns {string[]}
 */
export function violations(specifiers, { allowed, declared, isTest }) {
  const problems = [];
  for (const specifier of specifiers) {
    if (specifier.startsWith('node:')) continue;
    if (specifier.startsWith('.')) {
      if (/\.\.\/[a-z-]+\/src\//.test(specifier)) problems.push(`reaches into another package by path: ${specifier}`);
      continue;
    }
    const name = specifier
      .split('/')
      .slice(0, specifier.startsWith('@') ? 2 : 1)
      .join('/');
    if (packageNames.includes(name)) {
      if (!allowed.includes(name)) problems.push(`imports ${specifier}, which the arrows forbid`);
      else if (!declared.includes(name)) problems.push(`imports ${specifier}, which package.json does not declare`);
    } else if (!isTest && !declared.includes(name)) {
      problems.push(`imports ${specifier}, which package.json does not declare`);
    }
  }
  return problems;
}
