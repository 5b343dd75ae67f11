"""What an OpenAPI document cannot say. Loaded by schemathesis (SCHEMATHESIS_HOOKS)."""

import hashlib
from typing import Any

import schemathesis


@schemathesis.hook
def before_call(
    _context: schemathesis.HookContext, case: schemathesis.Case[Any], _kwargs: dict[str, Any]
) -> None:
    """Make a well-formed content_sha256 that of the content, and 1.0, an integer to JSON Schema, one to us.

    That others are refused is tested in tests/service/.
    """
    if not isinstance(case.body, dict):
        return
    version, content, sha256 = (case.body.get(name) for name in ("version", "content", "content_sha256"))
    if isinstance(version, float) and version.is_integer():
        case.body = {**case.body, "version": int(version)}
    if isinstance(content, str) and isinstance(sha256, str) and len(sha256) == 64:
        document = content.encode(errors="surrogatepass")
        case.body = {**case.body, "content_sha256": hashlib.sha256(document).hexdigest()}
