// What the app computes by itself, without a browser: run by test_units.py.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { commentOn, locateComment } from "../../client/src/comments";
import { readLog } from "@/components/greenlight/agent-status/ansi";
import { applyEdit, fromView, inView, lineEndings, toView } from "@/components/greenlight/document/bytes";
import { editDraft, markSent, openDraft } from "@/components/greenlight/plan-review/draft";
import { isPublishable, publishedSecrets, roleOf } from "@/lib/keys.js";
import { markChanges } from "@/components/greenlight/document/changes";
import { outline, render, TooLarge, type Part } from "@/components/greenlight/document/markdown";
import { passageOf, shownAt, type Point } from "@/components/greenlight/document/passage";
import { safePath } from "@/lib/paths";
import { visible, visibleText } from "@/lib/greenlight/visible";

test("a view that was not changed leaves the document alone", () => {
  for (const document of ["\uFEFFa\r\nb\rc\n", "", "\r", "\n\r\n\r", "x"])
    assert.equal(applyEdit(document, toView(document)), document);
});

test("an edit keeps the byte order mark and the line breaks of what it does not touch", () => {
  assert.equal(applyEdit("a\r\nb\r\n", "a\nx\nb\n"), "a\r\nx\r\nb\r\n");
  assert.equal(applyEdit("\uFEFFa\r\nb", "a\nb\nc"), "\uFEFFa\r\nb\r\nc");
  assert.equal(applyEdit("a\rb\rc", "a\nx\nc"), "a\rx\rc");
  // Mixed: only the line that was typed gets the commonest kind.
  assert.equal(applyEdit("a\r\nb\r\nc\nd\n", "a\nb\nnew\nc\nd\n"), "a\r\nb\r\nnew\r\nc\nd\n");
  assert.equal(applyEdit("\uFEFFa\r\n", ""), "\uFEFF");
  assert.equal(applyEdit("a\nb", "a\nb\n"), "a\nb\n");
});

test("whatever the edit, the document then shows what was typed", () => {
  // A linear congruential generator: the same documents each time.
  let seed = 7;
  const random = (below: number) => (seed = (seed * 1103515245 + 12345) % 2147483648) % below;
  const parts = ["a", "b", "\n", "\r", "\r\n", ""];
  const document = (breaks: number) =>
    Array.from({ length: random(12) }, () => parts[random(breaks)]).join("");
  for (let round = 0; round < 20_000; round++) {
    const original = (random(2) ? "\uFEFF" : "") + document(6);
    const view = document(3);
    const result = applyEdit(original, view);
    assert.equal(toView(result), view, JSON.stringify({ original, view, result }));
    assert.equal(result.startsWith("\uFEFF"), original.startsWith("\uFEFF"));
  }
});

test("line endings are named", () => {
  assert.deepEqual(["a\nb\n", "a\r\nb", "a\rb", "a\r\nb\n", "a"].map(lineEndings), [
    "LF",
    "CRLF",
    "CR",
    "mixed",
    "LF",
  ]);
});

const titleOf = (markdown: string) => outline(render(markdown).blocks).headings[0]?.text;

test("a document's first heading is its title", () => {
  assert.equal(titleOf("# The plan #\n\n## More"), "The plan");
  assert.equal(titleOf("no heading"), undefined);
  assert.equal(titleOf("The plan\n========\n"), "The plan");
  assert.equal(titleOf("# The `plan` of [Ada](https://example.org), *revised*"), "The plan of Ada, revised");
});

test("front matter is no heading, and what is hidden in a heading is no title", () => {
  assert.equal(titleOf("---\nname: x\ntitle: y\n---\n# My plan\n"), "My plan");
  assert.equal(titleOf("+++\nname = 1\n+++\n\nMy plan\n---\n"), "My plan");
  assert.equal(titleOf("# My\u202e plan <!-- not this -->"), "My plan");
  // A line across the page, and text.
  assert.equal(render("---\n\ntext\n\n---\n").blocks[0]?.tag, "hr");
});

test("a comment in a fence is not the title", () => {
  assert.equal(titleOf("```sh\n# install things\n```\n# My plan\n"), "My plan");
  assert.equal(titleOf("    # indented code\n\n# My plan\n"), "My plan");
});

test("the first edit of a settled revision begins the next version, further edits do not", () => {
  const draft = openDraft("Title", "text");
  assert.equal(draft.version, 1);
  const once = editDraft(draft, { content: "text!" }, 0);
  assert.equal(once.version, 2);
  assert.equal(editDraft(editDraft(once, { content: "text!!" }, 0), { title: "Other" }, 0).version, 2);
});

test("what was sent may have been approved: an edit after it is another version", () => {
  const draft = markSent(editDraft(openDraft("Title", "text"), { content: "text!" }, 0));
  assert.equal(draft.version, 2);
  assert.equal(editDraft(draft, { content: "text!!" }, 0).version, 3);
});

test("the next version is above everything that was approved elsewhere", () => {
  assert.equal(editDraft(openDraft("Title", "text"), { title: "Other" }, 7).version, 8);
});

test("an edit that changes nothing does not count", () => {
  const draft = openDraft("Title", "text");
  assert.equal(editDraft(draft, { content: "text", title: "Title" }, 5), draft);
});

test("headings get GitHub's ids", () => {
  const { blocks, headings } = outline(
    render("intro\n\n# One\ntext\n## Two `code` and [link](x)\n### One\n- # in a list\n").blocks,
  );
  assert.deepEqual(
    headings.map(({ level, id }) => [level, id]),
    [
      [1, "user-content-one"],
      [2, "user-content-two-code-and-link"],
      [3, "user-content-one-1"],
    ],
  );
  assert.deepEqual(
    blocks.flatMap(({ id }) => id ?? []),
    headings.map(({ id }) => id),
  );
});

/** What a reader sees of a part: its text, and the numbers and boxes of its list. */
function seen(part: Part): string {
  if (typeof part === "string") return part;
  const before = part.number !== undefined ? `${part.number.toString()}. ` : part.checked ? "x " : "";
  const text = part.children.map(seen).join("");
  return part.tag === "br" || /^(h\d|hr|li|p|pre|t[dr]|footnote|note|blockquote)$/.test(part.tag)
    ? `\n${before}${text}\n`
    : text;
}

const look = (markdown: string) => render(markdown).blocks.map(seen).join("");

/** The first word of a document that its rendering does not have, in its place. Numbers may be those of a list. */
function missing(markdown: string, text: string): string | undefined {
  let at = 0;
  const words = markdown.replace(/&#?\w+;/g, " ").match(/[[\p{L}\p{N}]--\p{DI}]+/gv) ?? [];
  return words.find((word) => {
    if (/^(\d{1,9}|[xX])$/.test(word)) return false;
    const found = text.indexOf(word, at);
    at = found + word.length;
    return found < 0;
  });
}

const TRICKS = JSON.parse(readFileSync(new URL("hiding_tricks.json", import.meta.url), "utf8")) as Record<
  string,
  { document: string; shown: string }
>;

for (const [name, { document, shown }] of Object.entries(TRICKS))
  test(`nothing is hidden by a ${name}`, () => {
    const text = look(document);
    assert.ok(text.includes(shown), text);
    assert.equal(missing(document, text), undefined, text);
    // Also in a quote, in a list, and behind other text.
    for (const around of [
      `> ${document.replaceAll("\n", "\n> ")}`,
      `- ${document.replaceAll("\n", "\n  ")}`,
      `Text\n\n${document}`,
    ])
      assert.equal(missing(around, look(around)), undefined, around);
  });

test("what a usual rendering hides is counted, by its kind", () => {
  assert.deepEqual(render("plain **text**\n\n- a\n- b\n").hidden, {});
  assert.deepEqual(render("[a](https://example.org) [b][c]\n\n[c]: /\n").hidden, { address: 2, label: 1 });
  assert.deepEqual(render('[//]: # "x"\n\n[a](b "c") <!-- d -->\u200b\n').hidden, {
    title: 1,
    comment: 1,
    invisible: 1,
    definition: 1,
  });
});

test("emoji are themselves, and other invisible characters have names", () => {
  for (const text of ["❤️", "👩‍🚀", "👩🏽‍🚀", "1️⃣", "🏳️‍🌈", "👨‍👩‍👧‍👦", "naïve", "नमस्ते", "a\tb\nc", "a\u00a0b"])
    assert.deepEqual(visible(text), [text]);
  assert.equal(visibleText("a\u202eb\u200b\u200bc"), "a⟨U+202E⟩b⟨U+200B ×2⟩c");
  assert.equal(visibleText("\u00a0"), "⟨U+00A0⟩");
  assert.equal(visibleText("a\ufe0f 🚀\u200d\u{e0061}"), "a⟨U+FE0F⟩ 🚀⟨U+200D tags “a”⟩");
  // Every character without a shape, alone.
  for (let code = 0; code < 0x110000; code++) {
    const character = String.fromCodePoint(code);
    if (/[\p{Cf}\p{Default_Ignorable_Code_Point}]/u.test(character))
      assert.equal(visible(`a${character}b`).length, 3, code.toString(16));
  }
});

/** The same numbers each time, for the seed that is printed when it fails. */
function random(seed: number) {
  return (below: number) => {
    seed = (seed * 1103515245 + 12345) % 2147483648;
    return Math.floor((seed / 2147483648) * below);
  };
}

/** A document with everything that Markdown has, and a word of its own in each place. */
function generate(seed: number): string {
  const below = random(seed);
  let count = 0;
  const word = () => `w${(count++).toString()}q`;
  const one = <Choice>(...choices: Choice[]) => choices[below(choices.length)] as Choice;
  const some = (make: () => string, join: string) => Array.from({ length: 1 + below(3) }, make).join(join);
  const inline = (depth = 0): string =>
    some(
      () =>
        depth > 2
          ? word()
          : one(
              word,
              () => `*${inline(depth + 1)}*`,
              () => `__${inline(depth + 1)}__`,
              () => `~~${word()}~~`,
              () => `\`${word()} ${word()}\``,
              () => `[${inline(depth + 1)}](https://${word()}.org "${word()}")`,
              () => `[${inline(depth + 1)}](<${word()} ${word()}> '${word()}')`,
              () => `[${word()}][${word()}]`,
              () => `![${inline(depth + 1)}](/${word()} (${word()}))`,
              () => `<${word()} ${word()}="${word()}">`,
              () => `<!-- ${word()} -->`,
              () => `[^${word()}]`,
              () => `&${word()}; &amp; &#x200b; \\${one("*", "_", "[", "<")}`,
              () => `<https://${word()}.org> www.${word()}.org ${word()}@example.org`,
              () => `${word()}\\\n${word()}  \n${word()}`,
              () =>
                one("*", "_", "[", "]", "`", "<", "![", "](", "~", "**", "|", "\u202e", "\u200b", "&", ")"),
            )(),
      one(" ", "", "\n"),
    );
  const block = (depth = 0): string =>
    one(
      () => inline(),
      () => `${"#".repeat(1 + below(6))} ${inline().replaceAll("\n", " ")}`,
      () => `${inline()}\n${one("===", "---")}`,
      () => `${one("```", "~~~")}${word()} ${word()}\n${word()}\n${one("```", "~~~", "")}`,
      () => `    ${word()}\n\t${word()}`,
      () =>
        `| ${word()} | ${word()} |\n| :- | -: |\n| ${word()} | ${word()} | ${word()} | ${word()} |\n${word()}`,
      () => `[${word()}]: ${word()} "${word()}"`,
      () => `[${word()}]:\n<${word()}>\n(${word()}\n${word()})`,
      () => `[^${word()}]: ${inline()}`,
      () => `<${one("div", "p", "script", "x-y")} ${word()}>\n${word()}\n</div>`,
      () => `<!-- ${word()}\n\n${word()} -->`,
      () => one("***", "---", "* * *"),
      ...(depth > 2
        ? []
        : [
            () => `> ${blocks(depth + 1).replaceAll("\n", `\n${one("> ", ">", "> ")}`)}`,
            () =>
              `${one("-", "*", "+")} ${blocks(depth + 1).replaceAll("\n", "\n  ")}\n- [${one("x", " ")}] ${word()}`,
            () => `${below(99).toString()}${one(".", ")")} ${blocks(depth + 1).replaceAll("\n", "\n    ")}`,
          ]),
    )();
  const blocks = (depth = 0) => some(() => block(depth), one("\n\n", "\n"));
  const front = below(4) === 0 ? `---\n${word()}: ${word()}\n---\n` : "";
  return front + some(() => blocks(), "\n\n");
}

/** Pieces of Markdown in any order: mostly nonsense. */
function noise(seed: number): string {
  const below = random(seed);
  const pieces =
    "* _ ** ` ``` ~~~ ~ [ ] ( ) ![ ]( ]: [^ < > <!-- --> <a </a> # ## === --- | |- :-: - + 1. 7) [x] & &amp; &#9; \\ \" ' : ! \t \n \n\n \u0020 \u0020\u0020\u0020\u0020 > https:// www. @ .org \u200b \u202e \u00a0 é ש".split(
      " ",
    );
  return Array.from({ length: below(40) }, (_, index) =>
    below(2) ? (pieces[below(pieces.length)] ?? " ") : one(index),
  ).join("");
  function one(index: number) {
    return below(3) ? ` w${index.toString()}q` : one.name + index.toString();
  }
}

for (const [name, make, rounds] of [
  ["generated document", generate, 2_000],
  ["nonsense", noise, 8_000],
] as const)
  test(`each word of a ${name} is on the page`, () => {
    const first = Date.now();
    for (let seed = first; seed < first + rounds; seed++) {
      const document = make(seed);
      const text = look(document);
      assert.equal(
        missing(document, text),
        undefined,
        `seed ${seed.toString()}: ${JSON.stringify(document)}\n${text}`,
      );
    }
  });

test("each word of our own documents is on the page", () => {
  const docs = new URL("../../docs/", import.meta.url);
  const files = readdirSync(docs).filter((name) => name.endsWith(".md"));
  assert.ok(files.length > 5);
  for (const url of [...files.map((name) => new URL(name, docs)), new URL("../README.md", docs)]) {
    const document = readFileSync(url, "utf8");
    assert.equal(missing(document, look(document)), undefined, url.pathname);
  }
});

test("a document with too many parts is refused, and one that is nested deeply has source in it", () => {
  assert.throws(() => render("`a` ".repeat(41_000)), TooLarge);
  const deep = render("> ".repeat(1_000) + "the end");
  assert.ok(deep.size < 100);
  assert.ok(deep.blocks.map(seen).join("").includes("the end"));
});

test("a text that is too long is refused, a long one is in pieces, and a table with many columns is source", () => {
  const line = "x".repeat(20_000);
  assert.equal(render(line).blocks[0]?.children.length, 20);
  assert.throws(() => render(`${line}x`), TooLarge);
  const lines = `${"x".repeat(9_999)}\n`.repeat(4);
  assert.equal(render(`${lines}${"y".repeat(10_000)}`).blocks.length, 1);
  assert.throws(() => render(`${lines}${"y".repeat(10_001)}`), TooLarge);
  const table = (columns: number) => `${"|a".repeat(columns)}\n${"|-".repeat(columns)}\n`;
  assert.equal(render(table(8)).blocks[0]?.tag, "table");
  assert.equal(render(table(9)).blocks[0]?.tag, "source");
});

/** The changes, as a text: + and − before what was added and removed, changed words in brackets. */
function changes(from: string, to: string): string[] {
  const found: string[] = [];
  const walk = (part: Part) => {
    if (typeof part === "string") return;
    const text = (part: Part): string =>
      typeof part === "string"
        ? part
        : part.tag === "word"
          ? `(${part.children.join("")})`
          : part.children.map(text).join(part.tag === "tr" ? "|" : "");
    if (part.change) found.push((part.change === "added" ? "+" : "-") + text(part));
    else part.children.forEach(walk);
  };
  const { blocks, changes } = markChanges(render(from).blocks, render(to).blocks);
  blocks.forEach(walk);
  assert.equal(changes.added, found.filter((line) => line.startsWith("+")).length);
  assert.equal(changes.removed, found.filter((line) => line.startsWith("-")).length);
  // The whole new document is there.
  const kept = (part: Part): string =>
    typeof part === "string" ? part : part.change === "removed" ? "" : part.children.map(kept).join("");
  assert.equal(blocks.map(kept).join(""), render(to).blocks.map(kept).join(""));
  return found;
}

test("changed blocks, items and rows are marked in the whole document", () => {
  assert.deepEqual(changes("# A\n\nsame\n", "# A\n\nsame\n"), []);
  assert.deepEqual(changes("# A\n\nTwo long trips.\n", "# A\n\nThree long trips.\n"), [
    "-(Two) long trips.",
    "+(Three) long trips.",
  ]);
  assert.deepEqual(changes("- a\n- b\n- c\n", "- a\n- c\n- d\n"), ["-b", "+d"]);
  assert.deepEqual(
    changes("| a | b |\n|-|-|\n| 1 | 2 |\n| 3 | 4 |", "| a | b |\n|-|-|\n| 1 | 9 |\n| 3 | 4 |"),
    ["-1|(2)", "+1|(9)"],
  );
  assert.deepEqual(changes("> a\n>\n> b", "> a\n>\n> c d e"), ["-b", "+c d e"]);
  assert.deepEqual(changes("a\n\nb\n\nc", "c"), ["-a", "-b"]);
  assert.deepEqual(changes("x\n\n- a", "- b\n\ny"), ["-x", "-a", "+b", "+y"]);
  assert.deepEqual(changes("", "new"), ["+new"]);
  // What only a model reads is a change as well.
  assert.deepEqual(changes("a\n\n[x]: /", 'a\n\n[x]: / "b"'), ["-[x]: /", '+[x]: /( "b")']);
  assert.deepEqual(changes("Go", "G\u200bo"), ["-Go", "+GU+200Bo"]);
  // Only the writing differs.
  assert.deepEqual(changes("*a*\n\n- b", "_a_\n\n* b\n"), []);
});

test("the changes of any two documents lead to the new one, in the time that there is", () => {
  const first = Date.now();
  for (let seed = first; seed < first + 400; seed++) {
    const [from, to] = [generate(seed), generate(seed + (seed % 2) * 1_000_000)];
    assert.doesNotThrow(() => changes(from, to), `seed ${seed.toString()}`);
  }
  const list = (word: string) =>
    Array.from({ length: 5_000 }, (_, index) => `- ${word} ${index.toString()}`).join("\n");
  assert.equal(changes(list("a"), list("b")).length, 10_000);
});

/** What is shown of each place of a rendering. */
function textsOf(source: string): { places: ReturnType<typeof render>["places"]; texts: string[] } {
  const { blocks, places } = render(source);
  const texts: string[] = [];
  const textOf = (part: Part): string => (typeof part === "string" ? part : part.children.map(textOf).join(""));
  const walk = (part: Part) => {
    if (typeof part === "string") return;
    if (part.block === undefined) part.children.forEach(walk);
    else texts[part.block] = textOf(part);
  };
  blocks.forEach(walk);
  return { places, texts };
}

/** The same, and nothing for a document that is shown as its source. */
function readable(document: string) {
  try {
    return textsOf(toView(document));
  } catch {
    return { places: [], texts: [] };
  }
}

/** The passage of a selection in what is shown, as it is stored. */
function select(document: string, from: Point, to: Point, { places } = textsOf(toView(document))) {
  const passage = passageOf(places, from, to);
  assert.ok(passage);
  const place = fromView(document);
  return commentOn(document, { start: place(passage.start), end: place(passage.end) }, "Why?");
}

/** The passage that is stored when this text is selected, which is shown once. */
function selectText(document: string, text: string) {
  const reading = textsOf(toView(document));
  const { texts } = reading;
  const block = texts.findIndex((shown) => shown.includes(text));
  assert.ok(block >= 0, `${text} is not in ${JSON.stringify(texts)}`);
  const at = texts[block]?.indexOf(text) ?? 0;
  return select(document, { block, at }, { block, at: at + text.length }, reading).exact;
}

test("what is selected in a text is what is stored, and with markup in it the whole block", () => {
  assert.equal(selectText("# A plan\n\nTwo *long* trips.", "long"), "long");
  assert.equal(selectText("# A plan\n\nTwo *long* trips.", "o long t"), "Two *long* trips.");
  assert.equal(selectText("# A plan #\n", "plan"), "plan");
  assert.equal(selectText("\uFEFF# A\r\n\r\none\r\ntwo 🚀 e\u0301\r\n", "ne\ntwo 🚀"), "ne\r\ntwo 🚀");
  assert.equal(selectText("> one\n> two\n", "two"), "two");
  assert.equal(selectText("> one\n> two\n", "e\ntw"), "one\n> two");
  assert.equal(selectText("Tom &amp; Jerry &lt;b> \\*x\\*", "Jerry"), "Jerry");
  assert.equal(selectText("Tom &amp; Jerry", "m &"), "Tom &amp; Jerry");
  assert.equal(selectText("a `b  c` d", "b  c"), "b  c");
  assert.equal(selectText("```ts\nts\nlet a;\n```", "let"), "let");
  assert.equal(selectText("  ```\n  one\n  two\n  ```", "two"), "two");
  assert.equal(selectText("    a\n    b", "b"), "b");
  assert.equal(selectText("| a | b |\n|-|-|\n| one \\| two | x |", "one"), "one");
  assert.equal(selectText("- a\n  - [ ] nested 👩‍🚀\n", "nested 👩‍🚀"), "nested 👩‍🚀");
  assert.equal(selectText("---\na: b\n---\n# T\n", "a: b"), "a: b");
  assert.equal(selectText("a <!-- secret --> b", "secret"), "secret");
  assert.equal(selectText("G\u200bo on", "o on"), "o on");
});

test("for any document and any selection, the stored passage is exactly there", () => {
  const first = Date.now();
  const found = { exact: 0, blocks: 0 };
  const wild = ["\uFEFF", "👩‍🚀", "e\u0301", "\u202e", "&amp;", "\\_", "\t", "|", "🇪🇺", "\u200b"];
  for (let seed = first; seed < first + 3_000; seed++) {
    const below = random(seed);
    const breaks = ["\n", "\r\n", "\r"][below(3)] ?? "\n";
    let source = seed % 2 ? generate(seed) : noise(seed);
    for (let round = 0; round < 4; round++) {
      const at = below(source.length + 1);
      source = source.slice(0, at) + (wild[below(wild.length)] ?? "") + source.slice(at);
    }
    const document = (below(2) ? "\uFEFF" : "") + source.replaceAll("\n", breaks);
    const reading = readable(document);
    const { places, texts } = reading;
    const shown = texts.flatMap((text, block) => (text === "" ? [] : [{ text, block }]));
    if (shown.length === 0) continue;
    for (let round = 0; round < 6; round++) {
      const begin = below(shown.length);
      const stop = below(2) ? begin : begin + below(shown.length - begin);
      const [one, other] = [shown[begin], shown[stop]];
      assert.ok(one && other);
      const from = { block: one.block, at: below(one.text.length) };
      const start = from.block === other.block ? from.at : 0;
      const to = { block: other.block, at: start + 1 + below(other.text.length - start) };
      const seen = JSON.stringify({ seed, document, from, to });

      const comment = select(document, from, to, reading);

      assert.equal(Array.from(document).slice(comment.start, comment.end).join(""), comment.exact, seen);
      const place = locateComment(document, comment);
      assert.ok(place, seen);
      const selected = one.text.slice(from.at, to.at);
      const completed = (text: string) => text.replace(/^[\uDC00-\uDFFF]|[\uD800-\uDBFF]$/g, "");
      const view = inView(document);
      const stored = { start: view(place.start), end: view(place.end) };
      const parts = shownAt(places, stored);
      if (stored.start !== places[from.block]?.start || stored.end !== places[to.block]?.end) {
        found.exact++;
        assert.equal(from.block, to.block, seen);
        assert.ok(toView(comment.exact).includes(completed(selected)), seen);
        // And it is shown where it was selected.
        const part = parts.find(({ block }) => block === from.block);
        assert.ok(part && part.from <= from.at && to.at <= part.to, seen);
      } else {
        found.blocks++;
        const blocks = parts.map(({ block }) => block);
        assert.ok(blocks.includes(from.block) && blocks.includes(to.block), seen);
      }
    }
  }
  // Both kinds are there.
  assert.ok(found.exact > 1_000 && found.blocks > 1_000, JSON.stringify(found));
});

test("a path that would lead out of the app becomes the start page", () => {
  for (const path of ["/build?session=a#b", "/agents", "/update-password?next=%2Fbuild%3Fsession%3Da"])
    assert.equal(safePath(path), path);
  for (const path of ["//evil", "/\\evil", "https://evil", "javascript:1", "\\\\evil", "", null, "/\t/evil"])
    assert.equal(safePath(path), "/agents", String(path));
  for (const path of ["/.//evil", "/a/..//evil", "/%2e//evil", "/./\\evil", "/.\n/\t/evil", "/a/%2E%2e/\\evil", "/..//evil:80/"])
    assert.equal(safePath(path), "/agents", path);
});

test("wherever a path comes from, the app's own host is where it leads", () => {
  const app = "https://app.example.com";
  const parts = ["/", "\\", ".", "..", "%2e", "%2E", "%2f", "%5c", "%00", "\t", "\n", "\r", "\0", " ", "@", ":", "?", "#"];
  parts.push("evil.example.com", "https:", "a", "\u2215", "\uff0f", "\u3002", "\u200b", "\ud800");
  let seed = 11;
  const random = (below: number) => (seed = (seed * 1103515245 + 12345) % 2147483648) % below;
  let kept = 0;
  for (let round = 0; round < 50_000; round++) {
    const path = "/" + Array.from({ length: random(7) }, () => parts[random(parts.length)]).join("");
    const safe = safePath(path, "/start");
    if (safe !== "/start") kept++;
    const seen = JSON.stringify({ path, safe });
    // As a browser reads a Location header, and as the router reads it.
    assert.equal(new URL(safe, `${app}/sign-in?next=x`).origin, app, seen);
    assert.match(safe, /^\/(?![/\\])/, seen);
    assert.equal(safePath(safe), safe, seen);
  }
  assert.ok(kept > 10_000);
});

const KEYS = JSON.parse(readFileSync(new URL("../keys.json", import.meta.url), "utf-8")) as {
  what: string;
  key: string;
  role: string | null;
}[];

test("the role of a key, and who may see it", () => {
  for (const { what, key, role } of KEYS) {
    assert.equal(roleOf(key), role, what);
    assert.equal(isPublishable(key), role === "anon", what);
  }
});

test("a variable that Next publishes holds no secret", () => {
  for (const { what, key, role } of KEYS.filter(({ key }) => key !== "")) {
    const NEXT_PUBLIC_SUPABASE_PUBLISHABLE_KEY = key;
    assert.equal(publishedSecrets({ NEXT_PUBLIC_SUPABASE_PUBLISHABLE_KEY }).length, role === "anon" ? 0 : 1, what);
  }
  const secret = KEYS.find(({ what }) => what === "the older service_role key")?.key;
  for (const value of [secret, "sb_secret_abc\n", "https://user:secret@example.com"])
    assert.deepEqual(publishedSecrets({ NEXT_PUBLIC_OTHER: value, OTHER: value }), ["NEXT_PUBLIC_OTHER"]);
  assert.deepEqual(publishedSecrets({ NEXT_PUBLIC_OTHER: "https://example.com", NEXT_PUBLIC_EMPTY: "" }), []);
});

const looksOf = (log: string) => readLog(log).map(({ text, className }) => [text, className]);
const textOf = (log: string) =>
  readLog(log)
    .map(({ text }) => text)
    .join("");

test("a log's colours are the theme's, and go on until they end", () => {
  assert.deepEqual(looksOf("a \x1b[31mred\nstill \x1b[1mbold\x1b[22m\x1b[39m plain"), [
    ["a ", ""],
    ["red\nstill ", "text-destructive"],
    ["bold", "text-destructive font-semibold"],
    [" plain", ""],
  ]);
  assert.deepEqual(looksOf("\x1b[1;3;4;92mall\x1b[mnone"), [
    ["all", "text-success font-semibold italic underline"],
    ["none", ""],
  ]);
});

test("a color of many is the nearest of the theme's, however it is written", () => {
  const colorOf = (code: string) => readLog(`\x1b[${code}mx`)[0]?.className;
  const known: Record<string, string[]> = {
    "text-destructive": ["31", "91", "38;5;1", "38;5;9", "38;5;196", "38;2;200;0;0", "38:2::200:0:0", "38:5:160"],
    "text-success": ["32", "38;5;46", "38;2;10;180;60", "1;38;2;10;180;60;22"],
    "text-warning": ["33", "38;5;214", "38;2;255;165;0"],
    "text-info": ["34", "35", "36", "38;5;33", "38;2;0;90;255", "48;5;1;34", "48;2;31;31;31;34"],
    "text-muted-foreground": ["90", "38;5;8"],
    "": ["30", "37", "97", "38;5;231", "38;5;16", "38;5;240", "38;2;9;9;9", "41", "7", "8", "38", "38;5", "38;9;31"],
  };
  for (const [color, codes] of Object.entries(known))
    for (const code of codes) assert.equal(colorOf(code), color, code);
});

test("of all else that is said to a terminal, a log shows the text alone", () => {
  const link = "\x1b]8;;https://evil.example\x1b\\here\x1b]8;;\x1b\\";
  assert.deepEqual(looksOf(`see ${link}`), [["see here", ""]]);
  assert.equal(textOf("\x1b]0;title\x07\x1bPdevice\x1b\\\x1b[2J\x1b[?25l\x1b(Bx\x07\b\0\x7f\x85y\tz"), "xy\tz");
  assert.equal(textOf("10 %\r 55 %\r100 %\r\ndone   \r\n\r"), "100 %\ndone\n");
  assert.equal(textOf("<b>&lt;\n  <script>"), "<b>&lt;\n  <script>");
});

test("a sequence that was cut takes nothing with it but itself", () => {
  const whole = "one\x1b[1;31mtwo\x1b]8;;https://example.org\x1b\\three\x1b[0mfour";
  for (let at = 0; at <= whole.length; at++) {
    const end = textOf(`first\n${whole.slice(0, at)}`);
    assert.ok(`first\nonetwothreefour`.startsWith(end), JSON.stringify(end));
    assert.ok(textOf(`${whole.slice(at)}\nlast`).endsWith("\nlast"));
    // Also in the middle, where a builder may have written half of one.
    assert.ok(textOf(`${whole.slice(0, at)}\nlast`).endsWith("\nlast"));
  }
});

test("whatever a log of 64 Ki is, it is read at once", () => {
  const parts = ["\x1b[1mx", "\x1b[", "\x1b]", "\x1b]8;;", "\x1b\0", "\r", "a\r", "\n", "\x1b[31ma\x1b[32mb", " ", "🥐"];
  for (const part of [...parts, `\x1b[${"1;".repeat(15_000)}1m\x1b[1mx`]) {
    const log = part.repeat(Math.ceil(65_536 / part.length)).slice(0, 65_536);
    const pieces = readLog(log);
    assert.ok(pieces.length <= 22_000, part);
  }
});
