// When to try again: doubling delays with jitter, so that a restarted server does not meet all its viewers at once.

export const FIRST_DELAY_MS = 500;
export const LONGEST_DELAY_MS = 15_000;
/** Where nobody answers: who looks on should see the stream soon after the server is back, and knocking costs nobody anything. */
export const LONGEST_KNOCK_MS = 1500;
/** After so many attempts, about a minute and a half, nobody is expected back at once. */
export const KNOCKS = 80;

/**
 * Delay before attempt `attempt` (0 is the first retry): half of it fixed, half random.
 *
 * @param random A number in 0..1.
 * @param answered The server was there, and refused.
 */
export function retryDelayMs(attempt: number, random: number, answered: boolean): number {
  const longest = answered || attempt >= KNOCKS ? LONGEST_DELAY_MS : LONGEST_KNOCK_MS;
  const full = Math.min(longest, FIRST_DELAY_MS * 2 ** Math.min(attempt, 20));
  return full / 2 + (full / 2) * random;
}

/** Whether a new attempt can help. 1008 is a refusal that would be repeated, unless the session was closed for being idle. */
export function isWorthRetrying(closeCode: number, errorCode: string | null): boolean {
  return closeCode !== 1008 || errorCode === "idle";
}
