// Bytes that something has happened to, the same in every run.

/** Numbers from 0 to below what is asked for. */
export type Random = (below: number) => number;

export function randomFrom(seed: number): Random {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** One change or more: mostly another byte, else a few lost or two added. May be the original again. */
export function mutated(original: Uint8Array, random: Random): Uint8Array<ArrayBuffer> {
  const bytes = [...original];
  for (let i = 0; i <= random(3); i++) {
    const at = random(bytes.length);
    const way = random(10);
    if (way < 7) bytes[at] = random(256);
    else if (way < 9) bytes.splice(at, 1 + random(4));
    else bytes.splice(at, 0, random(256), random(256));
  }
  return Uint8Array.from(bytes);
}
