// What the viewer needs of a browser, and how to tell where it falls short. Imports nothing: it runs before everything else.

/** The oldest versions that have all of it: docs/viewer.md says why. */
export const OLDEST = "Chrome and Edge 123, Firefox 121 and Safari 17.5";

/** The card of a browser that lacks something. */
export const TOO_OLD = { code: "old_browser", title: "This browser is too old for the viewer" } as const;

/** What this browser lacks, in the words of people who can look it up; empty: nothing. */
export function missing(scope: typeof globalThis = globalThis): string[] {
  const needs: readonly [name: string, has: boolean][] = [
    ["WebAssembly", typeof scope.WebAssembly === "object"],
    ["OffscreenCanvas", typeof scope.OffscreenCanvas === "function" && has2d(scope)],
    ["createImageBitmap", typeof scope.createImageBitmap === "function"],
    ["workers that are modules", typeof scope.Worker === "function" && takesModules(scope)],
    ["the CSS function light-dark()", scope.CSS.supports("color", "light-dark(red, blue)")],
    ["the CSS selector :has()", scope.CSS.supports("selector(:has(a))")],
  ];
  return needs.filter(([, has]) => !has).map(([name]) => name);
}

function has2d({ OffscreenCanvas }: typeof globalThis): boolean {
  const canvas = new OffscreenCanvas(1, 1);
  return typeof canvas.convertToBlob === "function" && canvas.getContext("2d") !== null;
}

/** A browser that knows of modules asks for the type of a worker; the worker itself is empty. */
function takesModules({ Worker, URL, Blob }: typeof globalThis): boolean {
  let asked = false;
  const options = {
    get type(): "module" {
      asked = true;
      return "module";
    },
  };
  const url = URL.createObjectURL(new Blob([""], { type: "text/javascript" }));
  try {
    new Worker(url, options).terminate();
  } finally {
    URL.revokeObjectURL(url);
  }
  return asked;
}
