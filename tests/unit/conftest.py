"""Unit tests need neither a stack nor a browser: one that opens a socket fails."""

from collections.abc import Iterator

import pytest
from pytest_socket import disable_socket, enable_socket


@pytest.fixture(autouse=True)
def no_sockets() -> Iterator[None]:
    disable_socket(allow_unix_socket=True)  # an event loop has a pair of these
    yield
    enable_socket()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"
