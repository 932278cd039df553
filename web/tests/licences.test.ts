import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { thirdPartyLicences } from "../licences.mjs";

const made: string[] = [];
after(async () => {
  for (const folder of made) await rm(folder, { recursive: true });
});

type Package = { license?: string; text?: string; dev?: boolean };

async function project(packages: Record<string, Package>): Promise<string> {
  const web = await mkdtemp(join(tmpdir(), "splatcast-"));
  made.push(web);
  const entries: Record<string, object> = { "": {} };
  for (const [name, { license, text, dev }] of Object.entries(packages)) {
    const folder = join(web, "node_modules", name);
    entries[`node_modules/${name}`] = dev ? { dev } : {};
    // What is only needed to build may not even be installed.
    if (dev) continue;
    await mkdir(folder, { recursive: true });
    await writeFile(
      join(folder, "package.json"),
      JSON.stringify({ name, version: "1.2.3", license, homepage: `https://${name}` }),
    );
    if (text) await writeFile(join(folder, "LICENSE.md"), text);
  }
  await writeFile(join(web, "package-lock.json"), JSON.stringify({ packages: entries }));
  return web;
}

test("every package of the run time is there with version and text, one of the build is not", async () => {
  const web = await project({
    "@a/b": { license: "MIT", text: "Copyright B" },
    c: { text: "Copyright C" },
    tool: { dev: true },
  });
  const text = await thirdPartyLicences(web, "the Apache text");
  assert.match(text, /@a\/b 1\.2\.3\nMIT\nhttps:\/\/@a\/b\n\nCopyright B/);
  assert.match(text, /c 1\.2\.3\nhttps:\/\/c\n\nCopyright C/);
  assert.ok(!text.includes("tool") && !text.includes("Apache"));
});

test("a package that only names the Apache licence gets its text", async () => {
  const text = await thirdPartyLicences(await project({ models: { license: "Apache-2.0" } }), "the Apache text");
  assert.match(text, /models 1\.2\.3\nApache-2\.0\nhttps:\/\/models/);
  assert.ok(text.endsWith("the Apache text\n"));
});

test("a package without a licence, or with the bare name of another, is refused by name", async () => {
  await assert.rejects(thirdPartyLicences(await project({ odd: {} }), ""), /odd 1\.2\.3: expected a LICENSE file/);
  await assert.rejects(thirdPartyLicences(await project({ odd: { license: "MIT" } }), ""), /got no file and "MIT"/);
});
