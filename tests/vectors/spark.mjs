// Has SparkJS itself decode splat files, in Node, and writes the packed words it makes of them.
//
//   node spark.mjs <@sparkjsdev/spark/dist/spark.module.js> <in.ply|spz|splat> <out.words> [<in.…> <out.words> ...]
//
// SparkJS decodes in a worker: its script and its WASM module are strings inside the bundle. This runs that script with a
// stand-in for the worker's global scope, and calls the same `loadPackedSplats` as `new PackedSplats({fileBytes})` does.
// The output is `numSplats` × 4 little-endian uint32, without SparkJS's padding to whole texture rows.
import fs from "node:fs";
import vm from "node:vm";

const [bundle, ...files] = process.argv.slice(2);
const source = fs.readFileSync(bundle, "utf8");

/** The value of the first top-level `const NAME = "..."` (or a call with one string) of the bundle. */
function stringConstant(name, quote) {
  const start = source.indexOf(`const ${name} = `);
  const end = source.indexOf("\n", start);
  const line = source.slice(start, end);
  return vm.runInNewContext(line.slice(line.indexOf(quote), line.lastIndexOf(quote) + 1));
}

const listeners = new Set();
const replies = new Map();
globalThis.self = {
  addEventListener: (_, listener) => listeners.add(listener),
  removeEventListener: (_, listener) => listeners.delete(listener),
  postMessage: (message) => {
    if ("result" in message || "error" in message) replies.get(message.id)(message);
  },
};
const send = (data) => [...listeners].forEach((listener) => listener({ data }));

vm.runInThisContext(stringConstant("jsContent", "'"));
send({ name: "init-wasm", module: await WebAssembly.compile(Buffer.from(stringConstant("WASM", '"'), "base64")) });

for (let id = 0; id < files.length; id += 2) {
  const reply = new Promise((resolve) => replies.set(id, resolve));
  const fileBytes = new Uint8Array(fs.readFileSync(files[id]));
  send({ id, name: "loadPackedSplats", args: { fileBytes, fileType: files[id].split(".").pop() } });
  const { result, error } = await reply;
  if (error) throw error;
  fs.writeFileSync(files[id + 1], Buffer.from(result.packedArray.buffer, 0, result.numSplats * 16));
}
