"""What the service is compared with: `python -m bench.peers sqlalchemy`, `in-threads` or `per-request`.

They answer POST /plan/approve as the service does, for the same users, documents and paths, with tables of the same
columns and indexes. They verify the access token locally against the project's keys, fetched once: none has
to pay for a question to Auth. `Server-Timing` says what each stage took.
"""

import hashlib
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Annotated, Any, NamedTuple
from uuid import UUID, uuid4

import httpx
import jwt
import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel
from sqlalchemy import ForeignKey, String, Text, create_engine, func
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker
from storage3 import SyncStorageClient
from supabase import ClientOptions, create_client

logger = logging.getLogger("bench")
SIGNED_URL_TTL_SECONDS = 3600


class ApproveDocumentRequest(BaseModel):
    plan_id: str
    title: str
    content: str
    version: int = 1


class ApprovePlanResponse(BaseModel):
    success: bool
    message: str
    document_url: str | None = None
    agent_id: str | None = None


class User(NamedTuple):
    id: str
    token: str


class Stages:
    """What each stage of a request took, for its `Server-Timing` header."""

    def __init__(self) -> None:
        self._milliseconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self._milliseconds[name] = (time.perf_counter() - began) * 1000

    def header(self) -> str:
        return ", ".join(f"{name};dur={duration:.3f}" for name, duration in self._milliseconds.items())


async def current_user(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]
) -> User:
    token = credentials.credentials
    try:
        key = request.app.state.keys[jwt.get_unverified_header(token)["kid"]]
        claims = jwt.decode(
            token, key, ["ES256"], audience="authenticated", issuer=os.environ["SUPABASE_JWT_ISSUER"]
        )
    except (jwt.PyJWTError, KeyError) as error:
        raise HTTPException(401) from error
    return User(claims["sub"], token)


CurrentUser = Annotated[User, Depends(current_user)]


def document_path(user: User, request: ApproveDocumentRequest, document: bytes) -> str:
    return f"{user.id}/{request.plan_id}/{hashlib.sha256(document).hexdigest()}.md"


class Base(DeclarativeBase):
    pass


class Plan(Base):
    __tablename__ = "peer_plan"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    user_id: Mapped[UUID]
    session_id: Mapped[str] = mapped_column(Text)
    version: Mapped[int]
    title: Mapped[str] = mapped_column(String(500))
    document_sha256: Mapped[str] = mapped_column(Text)
    document_url: Mapped[str] = mapped_column(Text)
    document_path: Mapped[str] = mapped_column(String(500))
    status: Mapped[str] = mapped_column(String(50), default="approved")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())


class Agent(Base):
    __tablename__ = "peer_agent"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    user_id: Mapped[UUID]
    session_id: Mapped[str] = mapped_column(Text)
    plan_id: Mapped[UUID] = mapped_column(ForeignKey("peer_plan.id"))
    name: Mapped[str | None] = mapped_column(String(200))
    status: Mapped[str] = mapped_column(String(50), default="building")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())


def sqlalchemy(url: str, *, in_threads: bool = False) -> FastAPI:
    """Return the brief's design: SQLAlchemy, and synchronous calls in an `async def` route.

    Written as fairly as it can be: one storage client and one connection pool for the process, both keep-alive. In
    threads the same route is a plain `def`, which FastAPI runs in its thread pool: what a careful team would deploy.
    """
    key = os.environ["SUPABASE_SECRET_KEY"]
    headers = {"apikey": key, "Authorization": f"Bearer {key}"}
    bucket = SyncStorageClient(
        f"{url}/storage/v1/", headers, http_client=httpx.Client(timeout=60, trust_env=False)
    ).from_("plans")
    database = os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://")
    # If they expired, the ids would be read from the database once more after the commit.
    sessions = sessionmaker(create_engine(database, pool_size=20), expire_on_commit=False)
    app = FastAPI()

    def get_db() -> Iterator[Session]:
        with sessions() as session:
            yield session

    def approve_plan(
        request: ApproveDocumentRequest,
        user: CurrentUser,
        db: Annotated[Session, Depends(get_db)],
        response: Response,
    ) -> ApprovePlanResponse:
        stage = Stages()
        try:
            document = request.content.encode()
            path = document_path(user, request, document)
            with stage("upload"):
                bucket.upload(path, document, {"content-type": "text/markdown"})
            with stage("sign"):
                document_url = bucket.create_signed_url(path, SIGNED_URL_TTL_SECONDS)["signedURL"]
            with stage("database"):
                plan = Plan(
                    user_id=UUID(user.id),
                    session_id=request.plan_id,
                    version=request.version,
                    title=request.title,
                    document_sha256=path[-67:-3],
                    document_url=document_url,
                    document_path=path,
                    status="approved",
                )
                db.add(plan)
                db.flush()
                agent = Agent(
                    user_id=UUID(user.id),
                    session_id=request.plan_id,
                    plan_id=plan.id,
                    name=request.title,
                    status="building",
                )
                db.add(agent)
                db.commit()
        except Exception as error:
            db.rollback()
            logger.exception("Failed to approve plan")
            raise HTTPException(500, "Failed to approve plan") from error
        response.headers["Server-Timing"] = stage.header()
        return ApprovePlanResponse(
            success=True,
            message="Plan approved and agent created successfully",
            document_url=document_url,
            agent_id=str(agent.id),
        )

    async def approve_plan_blocking(
        request: ApproveDocumentRequest,
        user: CurrentUser,
        db: Annotated[Session, Depends(get_db)],
        response: Response,
    ) -> ApprovePlanResponse:
        return approve_plan(request, user, db, response)

    app.post("/plan/approve")(approve_plan if in_threads else approve_plan_blocking)
    return app


def per_request(url: str) -> FastAPI:
    """Return what people commonly write: a Supabase client for each request, upload, sign, insert, insert.

    In a `def` route, so that it runs in a thread and does not block other requests.
    """
    key = os.environ["SUPABASE_PUBLISHABLE_KEY"]
    app = FastAPI()

    @app.post("/plan/approve")
    def approve_plan(
        request: ApproveDocumentRequest,
        user: CurrentUser,
        response: Response,
    ) -> ApprovePlanResponse:
        stage = Stages()
        document = request.content.encode()
        path = document_path(user, request, document)
        with stage("client"):
            options = ClientOptions(headers={"Authorization": f"Bearer {user.token}"})
            supabase = create_client(url, key, options)
        with stage("upload"):
            bucket = supabase.storage.from_("plans")
            bucket.upload(path, document, {"content-type": "text/markdown"})
        with stage("sign"):
            document_url = bucket.create_signed_url(path, SIGNED_URL_TTL_SECONDS)["signedURL"]
        with stage("insert"):
            plan = {
                "user_id": user.id,
                "session_id": request.plan_id,
                "version": request.version,
                "title": request.title,
                "document_sha256": path[-67:-3],
                "document_url": document_url,
                "document_path": path,
            }
            plans: Any = supabase.table("peer_plan").insert(plan).execute().data
            agent = {
                "user_id": user.id,
                "session_id": request.plan_id,
                "plan_id": plans[0]["id"],
                "name": request.title,
            }
            agents: Any = supabase.table("peer_agent").insert(agent).execute().data
        response.headers["Server-Timing"] = stage.header()
        return ApprovePlanResponse(
            success=True,
            message="Plan approved and agent created successfully",
            document_url=document_url,
            agent_id=agents[0]["id"],
        )

    return app


def main() -> None:
    """Run the peer that is named, in the same server and with the same options as the service."""
    url = os.environ["SUPABASE_URL"]
    peers: dict[str, Callable[[str], FastAPI]] = {
        "sqlalchemy": sqlalchemy,
        "in-threads": partial(sqlalchemy, in_threads=True),
        "per-request": per_request,
    }
    app = peers[sys.argv[1]](url)
    keys = (
        httpx.get(f"{url}/auth/v1/.well-known/jwks.json", trust_env=False).raise_for_status().json()["keys"]
    )
    app.state.keys = {key["kid"]: jwt.PyJWK(key) for key in keys}

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
    uvicorn.run(
        app,
        port=int(os.environ["PORT"]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
        timeout_keep_alive=75,
    )


if __name__ == "__main__":
    main()
