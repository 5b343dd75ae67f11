"""What a terminal would show of a text, which line of it says most, and its end without half a sequence.

Of the libraries, rich (15.0) keeps links that end with BEL and erased text, and shows nothing of a line that ends with
a carriage return; pyte (0.8) is under the LGPL, and raises TypeError on some sequences.
"""

import re

# Strings for the terminal (links, titles), to BEL or ST; control sequences; other escapes; what moves back; the rest.
_TOKEN = re.compile(
    r"\x1b[]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"
    r"|(?:\x1b\[|\x9b)(?P<parameters>[0-?]*)[ -/]*(?P<final>[@-~]?)"
    r"|\x1b[ -/]*[0-~]?"
    r"|(?P<back>[\r\b])"
    r"|(?P<control>[\x00-\x1f\x7f-\x9f])"
    r"|(?P<text>[^\x00-\x1f\x7f-\x9f]+)"
)

_LONGEST = 4096  # of a sequence that is looked for
_UNFINISHED = re.compile(r"(?:\x1b[]PX^_][^\x07\x1b]*\x1b?|(?:\x1b\[|\x9b)[0-?]*[ -/]*|\x1b[ -/]*)\Z")

# Lines that others add below an error, and that say nothing of it.
_NOISE = re.compile(
    r"Node\.js v\d\S*|\(Use `node --trace-.*|note: run with `RUST_BACKTRACE=.*|npm (?:error|ERR!) .*complete log.*"
)
_FRAME = re.compile(
    r"\s+at \S.*(?:\)|:\d+)(?: \{)?|\s+at \S.*:line \d+|\s+\.\.\. \d+ (?:more|common frames omitted)"
)


def shown(line: str) -> str:
    """Return what a terminal would show of this line in the end."""
    cells: list[str] = []
    column = 0
    for token in _TOKEN.finditer(line):
        written = token["text"] or (" " if token["control"] else "")
        if written:
            cells += " " * (column - len(cells))
            cells[column : column + len(written)] = written
            column += len(written)
        elif token["back"]:
            column = 0 if token["back"] == "\r" else max(0, column - 1)
        elif token["final"] == "K":  # erase: to the end, to the beginning, or all
            if token["parameters"] in {"", "0", "2"}:
                del cells[0 if token["parameters"] == "2" else column :]
            else:
                cells[: column + 1] = " " * min(column + 1, len(cells))
        elif token["final"] == "G":
            column = min(int(re.sub(r"\D", "", token["parameters"]) or 1), 1_000) - 1
    return "".join(cells)


def tail(text: str, length: int) -> str:
    """Return so many characters of its end, without the half of a sequence that was cut at either end."""
    start = max(0, len(text) - length)
    if start:
        before = max(text.rfind(each, max(0, start - _LONGEST), start) for each in "\x1b\x9b")
        if before >= 0 and (token := _TOKEN.match(text, before, before + _LONGEST)):
            start = max(start, token.end())
    unfinished = _UNFINISHED.search(text, max(start, len(text) - _LONGEST))
    return text[start : unfinished.start() if unfinished else None]


def last_words(text: str) -> str:
    """Return the last line that says something; of an error with a stack trace, the line above the trace."""
    lines = [shown(line).rstrip() for line in text.split("\n")]
    lines = [line for line in lines if line and not _NOISE.fullmatch(line)]
    frames = [number for number, line in enumerate(lines) if _FRAME.fullmatch(line)]
    # Below the trace there are at most the error's properties.
    if frames and all(line[0] in " \t}]" for line in lines[frames[-1] + 1 :]):
        for line in reversed(lines[: frames[-1]]):
            if not _FRAME.fullmatch(line):
                return line.strip()
    return lines[-1].strip() if lines else ""
