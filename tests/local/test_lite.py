"""The local stack refuses to start on a Lite that has not what it uses of its inside."""

import json
import re
import subprocess

from local import NODE, ROOT

SCRIPT = """
import { assertLite } from './local/lite.mjs'
assertLite({ fetch() {}, init() {}, server: {}, ensureSystemSchema() {}, _storageAdapter: null }, { introspect() {} })
"""


def test_a_missing_name_is_told_with_the_versions() -> None:
    result = subprocess.run(
        [NODE, "--input-type=module", "--eval", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert result.returncode != 0
    (line,) = re.findall(r"Error: (@supabase/lite .*)", result.stderr)
    assert "has no connection.applyJwtSessionContext, connection.clearSchemaCache" in line
    assert "app." not in line
    installed = json.loads((ROOT / "node_modules/@supabase/lite/package.json").read_text())["version"]
    assert line.startswith(f"@supabase/lite {installed} ")


def test_every_private_name_that_the_gateway_uses_is_asserted() -> None:
    gateway, asserted = ((ROOT / "local" / name).read_text() for name in ("gateway.mjs", "lite.mjs"))
    used = set(re.findall(r"\b(?:app|connection)\.(\w+)", gateway))

    assert used
    assert {name for name in used if f"'{name}'" not in asserted} == set()
    pinned = json.loads((ROOT / "package.json").read_text())["dependencies"]["@supabase/lite"]
    assert f"TRIED = '{pinned}'" in asserted
