// Which files are shown as they are, by their names.

/** What only Spark reads. */
const FOREIGN = /\.(spz|splat|ksplat|sog)$/i;
/** What the stream's worker reads; of a `.ply` that it does not, Spark may. */
const OWN = /\.(splatcast|ply|sppk|sppt)$/i;

/** Whether a file is one to show as it is, rather than a picture or video to send. */
export function isKept(name: string): boolean {
  return OWN.test(name) || FOREIGN.test(name);
}

/** Whether it takes Spark's loaders. */
export function isForeign(name: string): boolean {
  return FOREIGN.test(name);
}
