// Observable state: one object, changed by patches; listeners run once per task, after the last patch.

export class Store<T extends object> {
  private readonly listeners = new Set<(state: Readonly<T>) => void>();
  private scheduled = false;

  constructor(private readonly state: T) {}

  get(): Readonly<T> {
    return this.state;
  }

  set(patch: Partial<T>): void {
    Object.assign(this.state, patch);
    if (this.scheduled) return;
    this.scheduled = true;
    queueMicrotask(() => {
      this.scheduled = false;
      for (const listener of this.listeners) listener(this.state);
    });
  }

  /** Calls the listener now and after every change. */
  subscribe(listener: (state: Readonly<T>) => void): void {
    this.listeners.add(listener);
    listener(this.state);
  }
}
