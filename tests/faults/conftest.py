"""Faults are for a Supabase on this machine."""

import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def local_only(request: pytest.FixtureRequest) -> None:
    """Break nothing of others: faults and attacks are for a Supabase on this machine."""
    if "SUPABASE_URL" in os.environ:
        pytest.skip("these tests need a local Supabase")
