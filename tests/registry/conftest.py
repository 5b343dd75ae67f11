"""The browser and the user of tests/web."""

from tests.web.conftest import account, browser

__all__ = ["account", "browser"]
