/** Milliseconds on one clock that the page and its workers share; performance.now() alone starts anew in every worker. */
export function nowMs(): number {
  return performance.timeOrigin + performance.now();
}
