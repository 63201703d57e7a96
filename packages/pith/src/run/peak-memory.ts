/** Most resident memory of this process so far, threads included, in bytes. */
export function peakMemoryBytes(): number {
  // Kibibytes on every system.
  return process.resourceUsage().maxRSS * 1024;
}
