/** A markdown file as its text: see next.config.js. */
declare module "*.md" {
  const text: string;
  export default text;
}
