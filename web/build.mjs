// Builds the viewer into deployments/http/static/ and places the models of npm packages into deployments/models/relief/assets/.
// `node build.mjs --tests` bundles the unit tests into dist/tests/ instead; `--debug` leaves the bundle readable.
import { createHash } from "node:crypto";
import { chmod, copyFile, mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { placeFaceMesh } from "./face_mesh.mjs";
import { thirdPartyLicences } from "./licences.mjs";

const web = dirname(fileURLToPath(import.meta.url));
const deployments = join(web, "..", "deployments");
const staticFolder = join(deployments, "http", "static");
const assetsFolder = join(deployments, "models", "relief", "assets");

/** Person mask and face detector of the relief engine. Apache-2.0; taken from npm so that git holds no binary. */
const MODELS = [
  "@mediapipe/selfie_segmentation/selfie_segmentation.tflite",
  "@mediapipe/face_detection/face_detection_short_range.tflite",
];
/** Workers are files of their own: 'self' in worker-src is then enough for them. */
const ENTRIES = ["boot.ts", "viewer.ts", "selftest.ts", "status.ts", "stream/socket.worker.ts", "capture/capture.worker.ts"];
const PAGES = ["index.html", "selftest.html", "status.html"];
const BESIDE = ["viewer.css", "status.css", "favicon.svg"];

/** What is worth compressing: the rest is small, or compressed already. */
const COMPRESSED = /\.(js|css|html|txt)$/;

const LICENCES = "THIRD_PARTY_LICENSES.txt";

// The packages' own notices go into one file, complete and with the indirect packages, instead of into comments.
const common = { legalComments: "none", bundle: true, format: "esm", target: "es2022", logLevel: "warning" };

async function buildViewer(debug) {
  await rm(staticFolder, { recursive: true, force: true });
  await mkdir(staticFolder, { recursive: true });
  for (const name of BESIDE) await copyFile(join(web, "public", name), join(staticFolder, name));
  const apache = await readFile(join(web, "..", "LICENSE"), "utf8");
  await writeFile(join(staticFolder, LICENCES), await thirdPartyLicences(web, apache));
  const { metafile } = await build({
    ...common,
    metafile: true,
    banner: { js: `// Licences of what this holds: ${LICENCES}` },
    entryPoints: ENTRIES.map((entry) => ({ in: join(web, "src", entry), out: entry.replace(/^.*\/|\.ts$/g, "") })),
    outdir: staticFolder,
    // The pages share three.js and Spark (3 MB), so they share a chunk.
    splitting: true,
    chunkNames: "[name]-[hash]",
    minify: !debug,
    sourcemap: debug ? "inline" : false,
  });
  await writePages(await hashWorkers(), chunksOf(metafile, "viewer.js"));
}

/** Gives workers a name with the hash of their content, as chunks have one: the page names them, and a browser keeps them for good. */
async function hashWorkers() {
  const names = new Map();
  for (const name of (await readdir(staticFolder)).filter((each) => each.endsWith(".worker.js"))) {
    const hash = createHash("sha256")
      .update(await readFile(join(staticFolder, name)))
      .digest();
    const letters = [...hash.subarray(0, 8)].map((byte) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[byte % 32]).join("");
    names.set(name, name.replace(/\.js$/, `-${letters}.js`));
    await rename(join(staticFolder, name), join(staticFolder, names.get(name)));
  }
  return names;
}

/** The files that an entry imports, and those that they import: a browser that knows of them early loads all at once. */
function chunksOf({ outputs }, entry) {
  const name = (path) => path.split("/").pop();
  const byName = new Map(Object.entries(outputs).map(([path, output]) => [name(path), output]));
  const found = new Set();
  const visit = (each) => {
    for (const { path, kind } of byName.get(each).imports) {
      if (kind !== "import-statement" || found.has(name(path))) continue;
      found.add(name(path));
      visit(name(path));
    }
  };
  visit(entry);
  return [...found];
}

async function writePages(workers, chunks) {
  for (const page of PAGES) {
    let html = await readFile(join(web, "public", page), "utf8");
    for (const [plain, hashed] of workers) html = html.replaceAll(`static/${plain}`, `static/${hashed}`);
    const links = chunks.map((chunk) => `    <link rel="modulepreload" href="static/${chunk}" />\n`).join("");
    if (page === "index.html") html = html.replace("  </head>", `${links}  </head>`);
    await writeFile(join(staticFolder, page), html);
  }
}

/** A compressed copy beside each file, so that no server has to do it for each visitor. gzip's header holds no time: builds stay alike. */
async function compress() {
  for (const name of await readdir(staticFolder)) {
    if (!COMPRESSED.test(name)) continue;
    await writeFile(join(staticFolder, `${name}.gz`), gzipSync(await readFile(join(staticFolder, name)), { level: 9 }));
  }
}

async function placeModels() {
  await mkdir(assetsFolder, { recursive: true });
  for (const model of MODELS) {
    const target = join(assetsFolder, model.split("/").pop());
    await copyFile(join(web, "node_modules", model), target);
    // The packages carry modes without read permission for others; a service account must read them, too.
    await chmod(target, 0o644);
  }
  await placeFaceMesh(join(web, "node_modules"), assetsFolder);
}

async function buildTests() {
  const out = join(web, "dist", "tests");
  await rm(out, { recursive: true, force: true });
  const tests = (await readdir(join(web, "tests"))).filter((name) => name.endsWith(".test.ts"));
  await build({
    ...common,
    entryPoints: tests.map((name) => join(web, "tests", name)),
    outdir: out,
    outExtension: { ".js": ".mjs" },
    platform: "node",
    define: { __VECTORS__: JSON.stringify(join(web, "..", "tests", "vectors")) },
  });
}

if (process.argv.includes("--tests")) {
  await buildTests();
} else {
  await placeModels();
  await buildViewer(process.argv.includes("--debug"));
  await compress();
}
