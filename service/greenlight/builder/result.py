"""What a build made, as its builder says: a JSON object for `build.result`, or a message why it cannot be one."""

import errno
import json
import os
import re
import stat
from itertools import accumulate
from typing import Any

from greenlight.builder.job import BuildFailed

FILE = "result.json"
MAX_BYTES = 16_384  # of the text that jsonb makes of it
MAX_FILE_BYTES = 1024 * 1024  # with white space and escapes, which jsonb does not keep
MAX_DEPTH = 100

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def read(directory: int) -> dict[str, Any] | None:
    """Return the object in the file of this directory; None if the file is empty or gone.

    It follows no link, which may lead to what the command cannot read, and does not wait for a FIFO.

    Raises:
        BuildFailed: it is no such object.

    """
    try:
        file = os.open(FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise _refusal("is not in a regular file")
            content = b""
            while chunk := os.read(file, MAX_FILE_BYTES + 1 - len(content)):
                content += chunk
        finally:
            os.close(file)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO}:  # a link, a socket
            raise _refusal("is not in a regular file") from None
        raise _refusal(f"could not be read: {error.strerror}") from None
    return parse(content) if content else None


def parse(content: bytes) -> dict[str, Any]:
    """Return the object that this JSON text stands for."""
    if len(content) > MAX_FILE_BYTES:
        raise _refusal(f"is in a file of more than {MAX_FILE_BYTES:,} bytes")
    try:
        value = json.loads(content.decode())
    except UnicodeDecodeError:
        raise _refusal("is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise _refusal(f"is not JSON: {error}") from None
    except RecursionError:
        raise _refusal(f"is more than {MAX_DEPTH} levels deep") from None
    except ValueError:  # int() takes 4,300 digits
        raise _refusal("has a number that is too long") from None
    return check(value)


def check(value: Any) -> dict[str, Any]:
    """Return a copy of a value that jsonb can hold as it is.

    Numbers with an exponent are the only ones that jsonb may write longer: then the database refuses them.
    """
    if not isinstance(value, dict):
        raise _refusal("is not a JSON object")
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        size = len(text.encode())
    except UnicodeEncodeError:
        raise _refusal("has half of a surrogate pair") from None
    except RecursionError:
        raise _refusal(f"is more than {MAX_DEPTH} levels deep") from None
    except (TypeError, ValueError) as error:
        raise _refusal(f"cannot be JSON: {error}") from None
    if size > MAX_BYTES:
        raise _refusal(f"has {size:,} bytes, and may have {MAX_BYTES:,}")
    if _NUL.search(text):
        raise _refusal("has the character U+0000")
    brackets = _STRING.sub("", text)
    if max(accumulate((each in "{[") - (each in "}]") for each in brackets)) > MAX_DEPTH:
        raise _refusal(f"is more than {MAX_DEPTH} levels deep")
    copy: dict[str, Any] = json.loads(text)
    return copy


def _refusal(why: str) -> BuildFailed:
    return BuildFailed(f"The result {why}.", retry=False)
