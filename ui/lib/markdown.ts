import GithubSlugger from "github-slugger";
import type { Nodes, Root } from "mdast";
import { fromMarkdown } from "mdast-util-from-markdown";
import { gfmFromMarkdown } from "mdast-util-gfm";
import { toString } from "mdast-util-to-string";
import { gfm } from "micromark-extension-gfm";

/** The parser behind react-markdown, so that titles and sections agree with what is rendered. */
function parse(markdown: string): Root {
  return fromMarkdown(markdown, { extensions: [gfm()], mdastExtensions: [gfmFromMarkdown()] });
}

/** The title of a document: its first heading, at most 500 characters. Null if it has no heading. */
export function titleOf(markdown: string): string | null {
  const heading = parse(markdown).children.find((node) => node.type === "heading");
  return heading ? Array.from(textOf(heading)).slice(0, 500).join("") || null : null;
}

/** A heading and the text below it. */
export interface Section {
  id: string;
  /** 1 to 6; 0 for the text before the first heading. */
  level: number;
  heading: string;
  text: string;
}

/**
 * Cuts a markdown document before its headings. A long document is rendered section by section, and an edit renders
 * only the section that changed. The ids are GitHub's, so a document's own links to its headings work.
 */
export function sections(markdown: string): Section[] {
  if (markdown.trim() === "") return [];
  const nodes = parse(markdown).children;
  // Footnotes are numbered across the document, and a definition in a quote or a list cannot be copied out of it.
  const whole = nodes.some((node) => node.type !== "definition" && containsDefinition(node));
  const headings = whole ? [] : nodes.filter((node) => node.type === "heading");

  const slugger = new GithubSlugger();
  const found: Section[] = headings.map((node, index) => {
    const heading = textOf(node);
    const text = markdown.slice(startOf(node), headings[index + 1] && startOf(headings[index + 1]));
    return { id: `user-content-${slugger.slug(heading)}`, level: node.depth, heading, text };
  });
  const intro = markdown.slice(0, headings[0] && startOf(headings[0]));
  if (intro.trim() !== "") found.unshift({ id: "", level: 0, heading: "", text: intro });

  // Every section gets the document's link definitions: a reference may stand anywhere.
  const definitions = nodes
    .filter((node) => node.type === "definition")
    .map((node) => markdown.slice(startOf(node), node.position?.end.offset));
  if (definitions.length === 0) return found;
  return found.map((section) => ({ ...section, text: `${definitions.join("\n")}\n\n${section.text}` }));
}

function startOf(node: Nodes | undefined): number | undefined {
  return node?.position?.start.offset;
}

function textOf(heading: Nodes): string {
  return toString(heading).replace(/\s+/g, " ").trim();
}

function containsDefinition(node: Nodes): boolean {
  if (node.type === "definition" || node.type === "footnoteDefinition") return true;
  return "children" in node && node.children.some(containsDefinition);
}
