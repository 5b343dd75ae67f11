// Writes public/r/*.json, which `npx shadcn add` reads; with --check it only says whether they are up to date.
//
// An item has the files that its entries import, and the npm packages that these import: so every item is complete. The
// CLI looks up a file named in registryDependencies from the adopter's directory, and a URL would have to be absolute:
// neither would work from a clone and from any web app. Files that are already there are skipped.
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const REGISTRY = dirname(fileURLToPath(import.meta.url));
const ROOT = join(REGISTRY, "../..");
const CLIENT = join(ROOT, "client/src");
const PUBLISHED = join(REGISTRY, "../public/r");

const ITEMS = [
  {
    name: "greenlight",
    title: "Greenlight client",
    description: "Propose, approve and follow plans with supabase-js.",
    entries: ["@/lib/greenlight/client"],
  },
  {
    name: "plan-review",
    title: "Plan review",
    description: "One planning session: the document, what changed, comments on passages, and the decision.",
    entries: ["@/components/greenlight/plan-review"],
  },
  {
    name: "plan-inbox",
    title: "Plan inbox",
    description: "The plans that wait for a decision, and a hook for their number.",
    entries: ["@/components/greenlight/plan-inbox"],
  },
  {
    name: "agent-status",
    title: "Agent status",
    description: "One agent: its status, its build with its log, and what it made.",
    entries: ["@/components/greenlight/agent-status"],
  },
  {
    name: "greenlight-nextjs",
    title: "Greenlight pages for the Next.js app router",
    description: "/plans, /plans/[sessionId] and /agents/[agentId], made of the three blocks.",
    entries: ["@/nextjs/plans/page", "@/nextjs/plans/[sessionId]/page", "@/nextjs/agents/[agentId]/page"],
  },
];

// What a project has after `npx shadcn init`, and what docs/react.md tells it to have.
const THERE = ["@/lib/utils", "@/lib/supabase/client", "react", "react-dom", "next"];

// The colours of ours that shadcn/ui has no name for.
const COLORS = ["success", "warning", "info"];
const sheet = readFileSync(join(REGISTRY, "../app/globals.css"), "utf8");
const shades = COLORS.map((name) => new RegExp(`--${name}: light-dark\\((.+), (.+)\\);`).exec(sheet));
const cssVars = {
  theme: Object.fromEntries(COLORS.map((name) => [`color-${name}`, `var(--${name})`])),
  light: Object.fromEntries(COLORS.map((name, at) => [name, shades[at][1]])),
  dark: Object.fromEntries(COLORS.map((name, at) => [name, shades[at][2]])),
};

/** The file that a module's name stands for, if it is one of ours. */
function fileOf(name, from) {
  if (name === "@/lib/greenlight/client") return join(CLIENT, "index.ts");
  const path = name.startsWith("@/")
    ? join(REGISTRY, name.slice(2))
    : name.startsWith(".")
      ? join(dirname(from), name)
      : null;
  if (path === null) return null;
  const found = ["", ".ts", ".tsx", "/index.ts"]
    .map((end) => path + end)
    .find((file) => /\.tsx?$/.test(file) && existsSync(file));
  if (!found) throw new Error(`${from} imports ${name}, which is not in the registry`);
  return found;
}

const require = createRequire(import.meta.url);

function collect(entries) {
  const files = new Set();
  const packages = new Set();
  const types = new Set();
  const visit = (name, from) => {
    if (THERE.some((there) => name === there || name.startsWith(`${there}/`))) return;
    const file = fileOf(name, from);
    if (file === null) {
      const [, part] = /^((?:@[^/]+\/)?[^/]+)/.exec(name);
      if (existsSync(join(ROOT, "node_modules", part))) packages.add(part);
      else
        types.add(
          dirname(require.resolve(`@types/${part}/package.json`)).slice(join(ROOT, "node_modules/").length),
        );
    } else if (!files.has(file)) {
      files.add(file);
      const text = readFileSync(file, "utf8");
      const imported = ts.preProcessFile(text, true, true).importedFiles.map(({ fileName }) => fileName);
      const workers = [...text.matchAll(/new URL\("([^"]+)", import\.meta\.url\)/g)].map(([, path]) => path);
      for (const next of [...imported, ...workers]) visit(next, file);
    }
  };
  for (const entry of entries) visit(entry, ROOT);
  return { files: [...files].sort(), dependencies: [...packages].sort(), devDependencies: [...types].sort() };
}

/** Where a file goes in the adopter's project: `@ui/` and the like are their aliases. */
function placed(file) {
  const path = relative(ROOT, file);
  const inside = relative(REGISTRY, file);
  if (file.startsWith(CLIENT))
    return { path, type: "registry:lib", target: `@lib/greenlight/client/${relative(CLIENT, file)}` };
  if (inside.startsWith("nextjs/"))
    return { path, type: "registry:page", target: inside.replace("nextjs/", "app/") };
  const [, alias, rest] = /^(components\/ui|components|hooks|lib)\/(.+)$/.exec(inside);
  const type = { "components/ui": "ui", components: "component", hooks: "hook", lib: "lib" }[alias];
  return { path, type: `registry:${type}`, target: `@${alias.replace("components/", "")}/${rest}` };
}

function build(output) {
  const items = ITEMS.map(({ entries, ...item }) => {
    const { files, ...packages } = collect(entries);
    const styled = files.some((file) => file.endsWith(".tsx"));
    return {
      ...item,
      type: "registry:block",
      ...packages,
      files: files.map(placed),
      ...(styled ? { cssVars } : {}),
    };
  });
  const registry = join(output, "source.json");
  const $schema = "https://ui.shadcn.com/schema/registry.json";
  writeFileSync(
    registry,
    JSON.stringify(
      { $schema, name: "greenlight", homepage: "https://greenlight.example.com", items },
      null,
      2,
    ),
  );
  execFileSync(
    join(ROOT, "node_modules/.bin/shadcn"),
    ["build", registry, "--cwd", ROOT, "--output", output],
    { stdio: "pipe" },
  );
  rmSync(registry);
}

const contents = (directory) =>
  JSON.stringify(
    readdirSync(directory)
      .sort()
      .map((name) => [name, readFileSync(join(directory, name), "utf8")]),
  );

const output = mkdtempSync(join(tmpdir(), "registry-"));
build(output);
if (!process.argv.includes("--check")) {
  rmSync(PUBLISHED, { recursive: true, force: true });
  cpSync(output, PUBLISHED, { recursive: true });
} else if (!existsSync(PUBLISHED) || contents(output) !== contents(PUBLISHED)) {
  throw new Error("public/r is not what registry/ says: run `npm run --workspace ui registry`");
}
rmSync(output, { recursive: true });
