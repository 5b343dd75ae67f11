"""Teams on the stack that tests share: the project's two functions are replaced for a while, then as they were."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg

TEAMS = """
    create schema teams_of_tests;
    create table teams_of_tests.membership (team_id uuid, user_id uuid, role text);
    create or replace function greenlight.viewer_teams() returns setof uuid
    language sql stable security definer set search_path = '' as $$
        select team_id from teams_of_tests.membership where user_id = (select auth.uid()) and role = 'viewer'
    $$;
    create or replace function greenlight.approver_teams() returns setof uuid
    language sql stable security definer set search_path = '' as $$
        select team_id from teams_of_tests.membership where user_id = (select auth.uid()) and role = 'approver'
    $$;
"""
NO_TEAMS = """
    create or replace function greenlight.viewer_teams() returns setof uuid
    language plpgsql stable security definer set search_path = '' as 'begin return; end;';
    create or replace function greenlight.approver_teams() returns setof uuid
    language plpgsql stable security definer set search_path = '' as 'begin return; end;';
    update greenlight.setting set
        self_approval = true, require_team = false, decision_aal = 'aal1', decision_max_age = null;
    drop schema if exists teams_of_tests cascade;
"""


@dataclass(frozen=True)
class Team:
    database: psycopg.Connection[Any]
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def join(self, user_id: str, role: str = "approver") -> None:
        self.database.execute(
            "insert into teams_of_tests.membership values (%s, %s, %s)", (self.id, user_id, role)
        )

    def leave(self, user_id: str) -> None:
        self.database.execute(
            "delete from teams_of_tests.membership where (team_id, user_id) = (%s, %s)", (self.id, user_id)
        )


@contextmanager
def team_of(database_url: str) -> Iterator[Team]:
    with psycopg.connect(database_url, autocommit=True) as database:
        database.execute(TEAMS)
        try:
            yield Team(database)
        finally:
            database.execute(NO_TEAMS)
