// What the app computes by itself, without a browser: run by test_units.py.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { applyEdit, decode, documentProblem, encode, lineEndings, sha256, toView } from "../../ui/lib/document.ts";
import { editDraft, markSent, openDraft } from "../../ui/lib/draft.ts";
import { isPublishable, publishedSecrets, roleOf } from "../../ui/lib/keys.js";
import { sections, titleOf } from "../../ui/lib/markdown.ts";
import { safePath } from "../../ui/lib/paths.ts";

test("a document is decoded and encoded byte for byte", () => {
  const bytes = new Uint8Array([0xef, 0xbb, 0xbf, 0x61, 0x0d, 0x0a, 0xc3, 0xa9, 0x0d, 0x65, 0xcc, 0x81]);
  assert.deepEqual(encode(decode(bytes.buffer)), bytes);
  assert.throws(() => decode(new Uint8Array([0xe9]).buffer), TypeError);
});

test("the hash is SHA-256 in hex", async () => {
  assert.equal(
    await sha256(encode("abc")),
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
  );
});

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
  assert.deepEqual(["a\nb\n", "a\r\nb", "a\rb", "a\r\nb\n", "a"].map(lineEndings), ["LF", "CRLF", "CR", "mixed", "LF"]);
});

test("what cannot be a document is told before it is sent", () => {
  assert.equal(documentProblem("a\0b"), "invalid_request");
  assert.equal(documentProblem("half of a pair: \uD83D"), "invalid_request");
  assert.equal(documentProblem(""), "document_too_large");
  assert.equal(documentProblem("é".repeat(512 * 1024) + "x"), "document_too_large");
  assert.equal(documentProblem("é".repeat(512 * 1024)), null);
});

test("a document's first heading is its title", () => {
  assert.equal(titleOf("\uFEFF# The plan #\r\n\r\n## More"), "The plan");
  assert.equal(titleOf("no heading"), null);
  assert.equal(titleOf("The plan\n========\n"), "The plan");
  assert.equal(titleOf("# The `plan` of [Ada](https://example.org), *revised*"), "The plan of Ada, revised");
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

test("a document is cut before its headings, and nothing is lost", () => {
  const markdown = "intro\n\n# One\ntext\n## Two `code` and [link](x)\n### One\n";
  const parts = sections(markdown);
  assert.deepEqual(
    parts.map(({ level, id }) => [level, id]),
    [
      [0, ""],
      [1, "user-content-one"],
      [2, "user-content-two-code-and-link"],
      [3, "user-content-one-1"],
    ],
  );
  assert.equal(parts.map(({ text }) => text).join(""), markdown);
});

test("underlined headings are headings, and a list item's heading is not a section", () => {
  const parts = sections("One\n===\ntext\n\nTwo\n---\n\n- # in a list\n");
  assert.deepEqual(
    parts.map(({ level, heading }) => [level, heading]),
    [
      [1, "One"],
      [2, "Two"],
    ],
  );
});

test("what looks like a heading in a fence is code", () => {
  for (const fenced of [
    "```\n# comment\n```\ntext",
    "~~~~\n# comment\n~~~~\ntext",
    "- ```\n  # comment\n  ```\ntext",
    "> ~~~\n> # comment\n> ~~~\ntext",
    "1. ```sh\n   # comment\n   ```\ntext",
  ])
    assert.equal(sections(fenced).length, 1, fenced);
  assert.equal(sections("````\n```\n# comment\n````\n# heading").length, 2);
  // A list item's fence ends with the item: this is a heading, and it is rendered as one.
  assert.equal(sections("- ```\n# heading").length, 2);
});

test("link definitions serve every section, footnotes keep a document together", () => {
  const linked = sections("# One\n[a][ref]\n# Two\n[ref]: https://example.org\n");
  assert.ok(linked.every(({ text }) => text.includes("[ref]: https://example.org")));
  assert.equal(sections("# One\nnote[^1]\n# Two\n[^1]: text\n").length, 1);
  // A definition inside a quote counts for the whole document.
  assert.equal(sections("# One\n[a][ref]\n# Two\n> [ref]: https://example.org\n").length, 1);
  // An open fence at the end does not swallow the definitions.
  assert.ok(sections("[ref]: https://example.org\n# One\n```\ncode\n").at(-1)?.text.startsWith("[ref]: "));
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
