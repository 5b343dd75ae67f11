"""Attackers use the same stack, and the same proxy where they need to see what the service sends on."""

from tests.faults.conftest import (
    anyio_backend,
    chance,
    http,
    local_only,
    process,
    proxy,
    service,
    shared_process,
    stranger,
    supabase,
    user,
)

__all__ = [
    "anyio_backend",
    "chance",
    "http",
    "local_only",
    "process",
    "proxy",
    "service",
    "shared_process",
    "stranger",
    "supabase",
    "user",
]
