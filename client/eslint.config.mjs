import { defineConfig } from "eslint/config";
import tseslint from "typescript-eslint";

export default defineConfig(
  { ignores: ["database.d.ts"] },
  {
    files: ["**/*.js", "**/*.d.ts"],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      // It does not see the type that a JSDoc comment gives to an expression.
      "@typescript-eslint/no-unsafe-return": "off",
    },
  },
);
