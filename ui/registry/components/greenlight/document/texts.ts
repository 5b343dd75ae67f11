import { createContext } from "react";

/** The words around a document. */
export const documentTexts = {
  contents: "Contents",
  foldedContents: "Contents, folded",
  table: "Table",
  source: "Source",
  done: "done:",
  toDo: "to do:",
  showFrom: "Show from",
  notShown: "not shown",
  waiting: "It takes long to render this document. Until then, you see its source.",
  slow: "It would take too long to render this document, so you see its source.",
  large: "This document has too many parts to be rendered, so you see its source.",
  failed: "This document cannot be rendered, so you see its source.",
  sourceCounts: "The source is what you approve.",
  hidden: (count: number, list: string) =>
    count === 1
      ? `A usual rendering would hide 1 part of this document: ${list}. Here it is shown in place,`
      : `A usual rendering would hide ${count} parts of this document: ${list}. Here they are shown in place,`,
  likeThis: "like this",
  parts: {
    address: ["address of a link", "addresses of links"],
    cell: ["table cell without a header", "table cells without a header"],
    "code information": ["note on a code block", "notes on code blocks"],
    comment: ["HTML comment", "HTML comments"],
    definition: [
      "definition that is not used, or has a title",
      "definitions that are not used, or have a title",
    ],
    footnote: ["footnote that nothing refers to", "footnotes that nothing refers to"],
    HTML: ["piece of HTML", "pieces of HTML"],
    invisible: ["run of invisible characters", "runs of invisible characters"],
    label: ["label of a link", "labels of links"],
    other: ["other text", "other texts"],
    picture: ["picture's description", "pictures' descriptions"],
    title: ["title of a link", "titles of links"],
  },
  changes: {
    approved: (version: number) => `version ${version}, which was approved`,
    proposed: (version: number) => `version ${version}, which is proposed`,
    rejected: (version: number) => `version ${version}, which was rejected`,
    sentBack: (version: number) => `version ${version}, which was sent back`,
    marked: (version: string) => `Changes since ${version}, are marked:`,
    none: (version: string) => `What you see is the same as in ${version}.`,
    comparing: (version: string) => `The changes since ${version}, are not marked yet.`,
    unmarked: (version: string) => `The changes since ${version}, could not be marked. Read all of it.`,
    added: (count: number) => `${count} added`,
    removed: (count: number) => `${count} removed`,
    next: "Next change",
  },
  copyHash: "Copy the SHA-256",
  hashCopied: "Copied",
};

export type DocumentTexts = typeof documentTexts;

export const DocumentTextsContext = createContext(documentTexts);
