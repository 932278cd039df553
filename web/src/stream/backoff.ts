// When to try again: doubling delays with jitter, so that a restarted server does not meet all its viewers at once.

export const FIRST_DELAY_MS = 500;
export const LONGEST_DELAY_MS = 15_000;

/**
 * Delay before attempt `attempt` (0 is the first retry): half of it fixed, half random.
 *
 * @param random A number in 0..1.
 */
export function retryDelayMs(attempt: number, random: number): number {
  const full = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(attempt, 20));
  return full / 2 + (full / 2) * random;
}

/** Whether a new attempt can help. 1008 is a refusal that would be repeated, unless the session was closed for being idle. */
export function isWorthRetrying(closeCode: number, errorCode: string | null): boolean {
  return closeCode !== 1008 || errorCode === "idle";
}
