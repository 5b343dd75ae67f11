"""Which line of a command's errors the agent's owner sees, and what of it."""

import pytest

from greenlight.builder.job import clean
from greenlight.builder.terminal import last_words, shown, tail

NODE = """/app/build.js:3
throw new Error("no oven")
^

Error: no oven
    at bake (/app/build.js:3:7)
    at async Promise.all (index 0)
    at node:internal/main/run_main_module:36:49

Node.js v24.11.1
"""
NODE_SYSTEM_ERROR = """node:fs:441
    return binding.readFileUtf8(path, stringToFlags(options.flag));
                   ^

Error: ENOENT: no such file or directory, open 'plan.md'
    at Object.readFileSync (node:fs:441:20)
    at Module._compile (node:internal/modules/cjs/loader:1554:14) {
  errno: -2,
  code: 'ENOENT'
}

Node.js v24.11.1
"""
NODE_NO_ERROR = """Uncaught:
'no oven'
(Use `node --trace-uncaught ...` to show where the exception was thrown)

Node.js v24.11.1
"""
JAVA = """Exception in thread "main" java.lang.RuntimeException: baking failed
\tat Bakery.main(Bakery.java:7)
Caused by: java.io.IOException: no oven
\tat Oven.open(Oven.java:12)
\t... 1 more
"""
RUST = """thread 'main' panicked at src/main.rs:2:5:
no oven
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace
"""
PYTHON = """Traceback (most recent call last):
  File "build.py", line 1, in <module>
    bake()
ValueError: no oven
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (NODE, "Error: no oven"),
        (NODE_SYSTEM_ERROR, "Error: ENOENT: no such file or directory, open 'plan.md'"),
        (NODE_NO_ERROR, "'no oven'"),
        (JAVA, "Caused by: java.io.IOException: no oven"),
        (RUST, "no oven"),
        (PYTHON, "ValueError: no oven"),
        ("Error: first\n    at bake (a.js:1:2)\nThe oven is broken.\n", "The oven is broken."),
        ("    at bake (a.js:1:2)\n", "at bake (a.js:1:2)"),
        (
            "".join(f"\r{n}% {'#' * n}" for n in range(100)) + "\rThe oven is broken.\x1b[K\n",
            "The oven is broken.",
        ),
        ("The oven is broken.\n\r 10%\r 20%\r\x1b[K", "The oven is broken."),
        ("The oven is broken.\r\n\r\n", "The oven is broken."),
        ("\x1b[2K\x1b[1G\x1b[31merror\x1b[0m: no oven\n\x1b[?25h", "error: no oven"),
        ("", ""),
        ("\n \x1b[0m \n", ""),
    ],
)
def test_the_last_line_that_says_something(text: str, message: str) -> None:
    assert last_words(text) == message


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        ("\x1b]8;;https://x.example/\x1b\\the log\x1b]8;;\x1b\\ has more", "the log has more"),
        ("\x1b]8;id=1;https://x.example/\x07the log\x1b]8;;\x07 has more", "the log has more"),
        ("\x1b]0;a title\x07text", "text"),
        ("\x1b]8;;https://never.ends", ""),
        ("\x1bP1$r0m\x1b\\text", "text"),
        ("\x1b[38;5;196mred\x1b[m, \x9b1mbold\x9b0m", "red, bold"),
        ("12345\rab", "ab345"),
        ("12345\rab\x1b[K", "ab"),
        ("12345\x1b[1K", "     "),
        ("12345\x1b[2K", ""),
        ("12345\b\bx", "123x5"),
        ("ab\x1b[5Gc", "ab  c"),
        ("ab\x1b[999999999999Gc", "ab" + " " * 997 + "c"),
        ("ends with \x1b", "ends with "),
        ("ends with \x1b[12", "ends with "),
        ("\x1b(B\x1b=\x1b>text", "text"),
        ("Café ☕\ta\x00b", "Café ☕ a b"),
    ],
)
def test_what_a_terminal_shows_of_a_line(line: str, seen: str) -> None:
    assert shown(line) == seen


def test_a_message_is_one_line_that_can_be_sent() -> None:
    message = clean("10%\r\x1b[31mno\x00 \ud83d oven\x1b[0m\r\nCall the baker.\n")
    assert message == "no  ? oven Call the baker."
    message.encode()
    assert len(clean("x" * 600)) == 500


@pytest.mark.parametrize(
    ("text", "length", "end"),
    [
        ("", 5, ""),
        ("12345", 5, "12345"),
        ("12345\n67", 4, "5\n67"),
        ("a\x1b[31mred", 8, "\x1b[31mred"),
        ("a\x1b[31mred", 7, "red"),
        ("a\x1b[31mred", 6, "red"),
        ("a\x1b[31mred", 4, "red"),
        ("a\x1b[31mred", 3, "red"),
        ("a\x1b[31mred", 2, "ed"),
        ("a\x9b31mred", 5, "red"),
        ("\x1b]8;;https://x.example/\x1b\\the log", 12, "the log"),
        ("\x1b]8;;https://x.example/\x1b\\the log", 8, "the log"),
        ("\x1b]8;;https://x.example/\x07the log", 9, "the log"),
        ("\x1b(Btext", 6, "text"),
        ("red\x1b", 99, "red"),
        ("red\x1b[", 99, "red"),
        ("red\x1b[38;5;1", 99, "red"),
        ("red\x1b[38;5;1", 3, ""),
        ("red\x1b]8;;https://x.exa", 99, "red"),
        ("red\x1b]8;;https://x.example/\x1b", 99, "red"),
        ("red\x1b]8;;https://x.example/\x1b\\", 99, "red\x1b]8;;https://x.example/\x1b\\"),
        ("red\x1b[0m", 99, "red\x1b[0m"),
        ("\x1b]0;no end" + "x" * 10_000, 20, "x" * 20),
        ("x" * 10_000 + "\x1b[1m" * 3000, 10, "\x1b[1m\x1b[1m"),
        ("🥐é☕", 2, "é☕"),
    ],
)
def test_the_end_of_a_text_has_no_half_of_a_sequence(text: str, length: int, end: str) -> None:
    assert tail(text, length) == end
