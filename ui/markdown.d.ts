/** A markdown file as its text: see next.config.ts. */
declare module "*.md" {
  const text: string;
  export default text;
}
