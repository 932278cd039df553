/** Milliseconds on one clock that the page and its workers share; performance.now() alone starts from 0 in every worker. */
export function nowMs(): number {
  return performance.timeOrigin + performance.now();
}
