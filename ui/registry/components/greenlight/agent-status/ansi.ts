import { parse } from "@ansi-tools/parser";

/** A part of a log that looks the same all through. */
export interface Piece {
  text: string;
  className: string;
}

const [RED, GREEN, YELLOW, BLUE] = ["text-destructive", "text-success", "text-warning", "text-info"];
// The eight colours of a terminal, as the theme has them: each can be read on its ground.
const COLORS = ["", RED, GREEN, YELLOW, BLUE, BLUE, BLUE, ""];

type Style = Partial<Record<"color" | "weight" | "slant" | "line", string | undefined>>;

const STYLES: Partial<Record<number, Style>> = {
  1: { weight: "font-semibold" },
  2: { weight: "font-light" },
  3: { slant: "italic" },
  4: { line: "underline" },
  9: { line: "line-through" },
  22: { weight: "" },
  23: { slant: "" },
  24: { line: "" },
  29: { line: "" },
  39: { color: "" },
  ...Object.fromEntries([30, 90].flatMap((first) => COLORS.map((color, at) => [first + at, { color }]))),
  90: { color: "text-muted-foreground" },
};

// What shows nothing in a terminal. A tab does.
const CONTROLS = /(?!\t)\p{Cc}/gu;

/**
 * What a terminal would show of a program's output. What else it says to a terminal is left out: links and titles,
 * movements, other grounds, and what hides text.
 */
export function readLog(log: string): Piece[] {
  const pieces: Piece[] = [];
  let style: Style = {};
  // Line by line, so that a sequence without an end takes no other line with it.
  for (const [number, line] of log.split("\n").entries()) {
    let row: Piece[] = [];
    let isBack = false;
    for (const code of parse(line)) {
      if (code.type === "CSI" && code.command === "m")
        style = restyled(style, code.parameterGroups ?? code.params.map((parameter) => [parameter]));
      if (code.type !== "TEXT") continue;
      const className = [style.color, style.weight, style.slant, style.line].filter(Boolean).join(" ");
      for (const [at, part] of code.raw.split("\r").entries()) {
        if (at > 0) isBack = true;
        const text = part.replace(CONTROLS, "");
        if (text === "") continue;
        // A progress bar writes the same line again and again.
        if (isBack) row = [];
        isBack = false;
        row.push({ text, className });
      }
    }
    const last = pieces.at(-1);
    if (number > 0) {
      if (last) last.text += "\n";
      else pieces.push({ text: "\n", className: "" });
    }
    for (const piece of trimmed(row)) {
      const last = pieces.at(-1);
      if (last?.className === piece.className) last.text += piece.text;
      else pieces.push(piece);
    }
  }
  return pieces;
}

/** Without the white space at its end, which may be as wide as a terminal. */
function trimmed(row: Piece[]): Piece[] {
  for (let last = row.pop(); last; last = row.pop()) {
    const text = last.text.trimEnd();
    if (text !== "") return [...row, { ...last, text }];
  }
  return [];
}

/** The style after a sequence, given as its parameters, each with its parts: `38;5;1`, or `38:5:1`. */
function restyled(style: Style, parameters: string[][]): Style {
  if (parameters.length === 0) return {};
  const numbers = parameters.map((parts) => parts.map(Number));
  let next = style;
  for (let at = 0; at < numbers.length; at++) {
    const [code = 0, ...parts] = numbers[at] ?? [];
    if (code === 0) next = {};
    else if (code === 38 || code === 48 || code === 58) {
      const color = parts.length > 0 ? parts : numbers.slice(at + 1, at + 5).map(([part = 0]) => part);
      if (code === 38) next = { ...next, color: colorOf(color) };
      if (parts.length === 0) at += color[0] === 2 ? 4 : 2;
    } else next = { ...next, ...(parts[0] === 0 ? STYLES[20 + code] : STYLES[code]) };
  }
  return next;
}

/** The theme's colour that is nearest to one of 256, or to one of red, green and blue. */
function colorOf([kind, index = 0, ...more]: number[]): string | undefined {
  if (kind === 2) {
    const [red = 0, green = 0, blue = 0] = [index, ...more].slice(-3);
    return nearest(red, green, blue);
  }
  if (kind !== 5) return "";
  if (index < 16) return STYLES[index < 8 ? 30 + index : 82 + index]?.color;
  const cube = index - 16;
  return cube < 216 ? nearest(Math.floor(cube / 36), Math.floor(cube / 6) % 6, cube % 6) : "";
}

function nearest(red: number, green: number, blue: number): string {
  const most = Math.max(red, green, blue);
  if (Math.min(red, green, blue) > 0.7 * most || most === 0) return "";
  if (blue === most) return BLUE;
  if (red === most) return green > 0.5 * red ? YELLOW : RED;
  return blue > 0.8 * green ? BLUE : GREEN;
}
