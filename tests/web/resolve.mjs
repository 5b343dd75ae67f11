// Lets Node find the app's modules as a bundler does: "@/…", and names without an extension.
import { statSync } from "node:fs";
import { registerHooks } from "node:module";

const UI = new URL("../../ui/", import.meta.url);

registerHooks({
  resolve(specifier, context, next) {
    if (context.parentURL?.includes("/node_modules/")) return next(specifier, context);
    const bases = specifier.startsWith("@/")
      ? [new URL(`registry/${specifier.slice(2)}`, UI), new URL(specifier.slice(2), UI)]
      : specifier.startsWith(".")
        ? [new URL(specifier, context.parentURL)]
        : [];
    const found = bases
      .flatMap(({ href }) => [href, `${href}.ts`])
      .find((href) => statSync(new URL(href), { throwIfNoEntry: false })?.isFile());
    return next(found ?? specifier, context);
  },
});
