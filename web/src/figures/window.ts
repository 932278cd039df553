// Rates, percentiles and means over a sliding window of time.

export class Window {
  private samples: { atMs: number; value: number }[] = [];

  constructor(private readonly lengthMs: number) {}

  add(value: number, atMs: number): void {
    this.samples.push({ atMs, value });
    this.trim(atMs);
  }

  /** Samples per second. While the window isn't full yet, counts the time since the oldest sample. */
  ratePerSecond(nowMs: number): number {
    this.trim(nowMs);
    const first = this.samples[0];
    if (!first || this.samples.length < 2) return 0;
    return ((this.samples.length - 1) * 1000) / Math.max(1, nowMs - first.atMs);
  }

  /** Nearest-rank percentile, 0 without samples. */
  percentile(percent: number, nowMs: number): number {
    this.trim(nowMs);
    if (this.samples.length === 0) return 0;
    const sorted = this.samples.map((sample) => sample.value).sort((a, b) => a - b);
    return sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)]!;
  }

  /** 0 without samples. */
  mean(nowMs: number): number {
    this.trim(nowMs);
    return this.samples.reduce((sum, sample) => sum + sample.value, 0) / Math.max(1, this.samples.length);
  }

  clear(): void {
    this.samples = [];
  }

  private trim(nowMs: number): void {
    const oldest = nowMs - this.lengthMs;
    let stale = 0;
    while (stale < this.samples.length && this.samples[stale]!.atMs < oldest) stale++;
    if (stale > 0) this.samples.splice(0, stale);
  }
}
