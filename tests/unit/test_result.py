"""What a command may write as its result, and what each other thing in its place comes to."""

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from greenlight.builder.job import BuildFailed
from greenlight.builder.result import MAX_BYTES, MAX_FILE_BYTES, check, parse, read


def refusal(call: Callable[[], Any]) -> str:
    with pytest.raises(BuildFailed) as raised:
        call()
    assert not raised.value.retry
    return raised.value.message


def of_size(size: int) -> dict[str, str]:
    return {"x": "é" * ((size - 9) // 2) + "x" * ((size - 9) % 2)}


@pytest.mark.parametrize(
    ("content", "value"),
    [
        ("{}", {}),
        (
            '{"url": "https://a.example", "n": [1, null, true]}',
            {"url": "https://a.example", "n": [1, None, True]},
        ),
        (' \n{"a": 1,\t"a": 2}\r\n', {"a": 2}),
        (r'{"\u00e9": "\ud83e\udd50\\u0000", "tab": "\t"}', {"é": "🥐\\u0000", "tab": "\t"}),
        (
            '{"n": -0.5e-3, "big": 123456789012345678901234567890}',
            {"n": -0.0005, "big": 123456789012345678901234567890},
        ),
        (json.dumps(of_size(MAX_BYTES)), of_size(MAX_BYTES)),
        ('{"a":' + " " * (MAX_FILE_BYTES - 7) + "1}", {"a": 1}),
        ('{"a":' * 99 + "{}" + "}" * 99, None),
    ],
)
def test_an_object_is_taken_as_it_is(content: str, value: Any) -> None:
    assert parse(content.encode()) == (json.loads(content) if value is None else value)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b" ", "is not JSON: Expecting value: line 1 column 2 (char 1)"),
        (b'{"a": 1', "is not JSON: Expecting ',' delimiter: line 1 column 8 (char 7)"),
        (b'{"a": 1}{}', "is not JSON: Extra data: line 1 column 9 (char 8)"),
        (
            b"\xef\xbb\xbf{}",
            "is not JSON: Unexpected UTF-8 BOM (decode using utf-8-sig): line 1 column 1 (char 0)",
        ),
        (b'{"a": "\xff"}', "is not UTF-8"),
        (b'{"a": "\xed\xa0\xbd"}', "is not UTF-8"),
        *(
            (content, "is not a JSON object")
            for content in (b"null", b"[]", b'["{}"]', b"0", b'"{}"', b"true")
        ),
        (b'{"a": NaN}', "cannot be JSON: Out of range float values are not JSON compliant"),
        (b'{"a": -1e999}', "cannot be JSON: Out of range float values are not JSON compliant"),
        (b'{"a": ' + b"9" * 5000 + b"}", "has a number that is too long"),
        (b'{"a": "\\u0000"}', "has the character U+0000"),
        (b'{"a": "\\\\\\u0000"}', "has the character U+0000"),
        (b'{"\\u0000": 1}', "has the character U+0000"),
        (b'{"a": "\\ud83d"}', "has half of a surrogate pair"),
        (b'{"\\udd50\\ud83e": 1}', "has half of a surrogate pair"),
        (json.dumps(of_size(MAX_BYTES + 1)).encode(), "has 16,385 bytes, and may have 16,384"),
        (b" " * MAX_FILE_BYTES + b"{}", "is in a file of more than 1,048,576 bytes"),
        (b'{"a":' * 100 + b"{}" + b"}" * 100, "is more than 100 levels deep"),
        (b'{"a":' + b"[" * 500_000, "is more than 100 levels deep"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_anything_else_is_refused_and_the_owner_told_why(content: bytes, why: str) -> None:
    assert refusal(lambda: parse(content)).startswith(f"The result {why}")


def test_brackets_in_a_text_are_no_depth() -> None:
    value = {"a": "[" * 1000 + '"\\'}
    assert check(value) == value


CIRCLE: dict[str, Any] = {}
CIRCLE["a"] = CIRCLE
DEEP: dict[str, Any] = {}
for _ in range(100_000):
    DEEP = {"a": DEEP}


@pytest.mark.parametrize(
    "value",
    [[], "x", 0, True, {1}, {"a": {1}}, {"a": b"x"}, {(1, 2): 3}, {"a": float("nan")}, CIRCLE, DEEP],
    ids=range(11),
)
def test_what_a_function_returns_has_to_be_json(value: Any) -> None:
    assert refusal(lambda: check(value)).startswith("The result ")


def test_a_result_is_a_copy() -> None:
    value: dict[Any, Any] = {"a": ["b"], 1: (2,)}
    made = check(value)
    value["a"] = []
    assert made == {"a": ["b"], "1": [2]}


def link_to(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


def socket_at(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 2**40)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (link_to("other.json"), "is not in a regular file"),
        (link_to("nowhere"), "is not in a regular file"),
        (link_to("/dev/zero"), "is not in a regular file"),
        (link_to("result.json"), "is not in a regular file"),
        (os.mkfifo, "is not in a regular file"),
        (Path.mkdir, "is not in a regular file"),
        (socket_at, "is not in a regular file"),
        (sparse, "is in a file of more than 1,048,576 bytes"),
    ],
    ids=["link", "dangling", "device", "circle", "fifo", "directory", "socket", "huge"],
)
def test_only_a_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None], why: str
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's address is short
    Path("other.json").write_text('{"secret": 1}')
    make(Path("result.json"))
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        assert refusal(lambda: read(descriptor)) == f"The result {why}."
    finally:
        os.close(descriptor)


def test_it_is_optional(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        assert read(descriptor) is None
        (tmp_path / "result.json").touch()
        assert read(descriptor) is None
        (tmp_path / "result.json").write_text('{"a": 1}')
        assert read(descriptor) == {"a": 1}
        # The directory that the builder made, whatever has its name now.
        tmp_path.rename(tmp_path.with_name("moved"))
        tmp_path.mkdir()
        (tmp_path / "result.json").write_text('{"a": 2}')
        assert read(descriptor) == {"a": 1}
    finally:
        os.close(descriptor)
