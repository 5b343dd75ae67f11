import GithubSlugger from "github-slugger";

/** A heading and what stands under it. */
export interface Section {
  id: string;
  /** 1 to 6; 0 for what stands before the first heading. */
  level: number;
  heading: string;
  text: string;
}

const HEADING = /^ {0,3}(#{1,6})[ \t]+(.*?)(?:[ \t]+#+)?[ \t]*$/;
// A fence may open inside a list or a quotation. A line that only looks like one costs nothing but a larger section.
const FENCE = /^(?:[\s>]|[-*+]\s|\d+[.)]\s)*(`{3,}(?!.*`)|~{3,})(.*)$/;
// What a link refers to by name may be defined anywhere; footnotes are numbered through, so they hold all together.
const DEFINITION = /^ {0,3}\[[^\]^][^\]]*\]:\s*\S/;
const FOOTNOTE = /^ {0,3}\[\^[^\]]+\]:/m;

/**
 * Cuts a markdown document before its headings, so that a long one is rendered piece by piece, and after an edit only
 * the piece that changed. The ids are GitHub's, so that a document's own links to its headings work.
 */
export function sections(markdown: string): Section[] {
  const slugger = new GithubSlugger();
  const found: Section[] = [];
  const whole = FOOTNOTE.test(markdown);
  const definitions: string[] = [];
  let current: string[] = [];
  let fence: string | null = null;
  let head = { level: 0, heading: "", id: "" };

  const close = () => {
    const text = current.join("\n");
    if (text.trim() !== "") found.push({ ...head, text });
    current = [];
  };

  for (const line of markdown.split("\n")) {
    const marks = FENCE.exec(line);
    if (marks?.[1]) {
      if (fence === null) fence = marks[1];
      else if (marks[1].startsWith(fence) && marks[2]?.trim() === "") fence = null;
    }
    const heading = fence === null && !whole ? HEADING.exec(line) : null;
    if (heading?.[1]) {
      close();
      const text = plain(heading[2] ?? "");
      head = { level: heading[1].length, heading: text, id: `user-content-${slugger.slug(text)}` };
    }
    if (fence === null && DEFINITION.test(line)) definitions.push(line);
    current.push(line);
  }
  close();
  // An open fence at the end would swallow them.
  if (definitions.length === 0 || fence !== null) return found;
  return found.map((section) => ({ ...section, text: `${section.text}\n\n${definitions.join("\n")}` }));
}

/** A heading's text without its inline markup. */
function plain(markdown: string): string {
  return markdown
    .replace(/!?\[([^\]]*)\]\([^)]*\)/g, "$1")
    .replace(/[*`~]|(?<![\w])_|_(?![\w])/g, "")
    .trim();
}
