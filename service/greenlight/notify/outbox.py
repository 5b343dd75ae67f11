"""The notifications of a Supabase project, with its secret key: claim, finish and fail them.

Finish and fail name the notification and its attempt. The database ignores an attempt that is over, so a call may be
repeated.
"""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, TypeAdapter

from greenlight.rpc import Rpc
from greenlight.settings import review_url

KINDS = (
    "plan.proposed",
    "plan.approved",
    "plan.changes_requested",
    "plan.rejected",
    "plan.withdrawn",
    "plan.expired",
    "plan.reminder",
    "agent.active",
    "agent.failed",
)


class Notification(BaseModel):
    notification_id: int
    attempt: int
    event_id: str
    kind: str
    occurred_at: datetime
    user_id: str
    email: str | None = None
    approver_emails: list[str] | None = None
    data: dict[str, Any]

    def link(self, ui_url: str | None) -> tuple[str, str] | None:
        """Return the name and the address of the page where this can be seen, if there is a web app."""
        if ui_url is None:
            return None
        agent_id = self.data.get("agent_id")
        if agent_id and self.kind in {"plan.approved", "agent.active", "agent.failed"}:
            return "agent_url", f"{ui_url}/build/{agent_id}"
        owner = self.user_id if self.data.get("team_id") else None
        return "review_url", review_url(ui_url, self.data["session_id"], owner)


_NOTIFICATIONS = TypeAdapter(list[Notification])
_KNOWN = TypeAdapter(bool)


class Outbox:
    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc

    async def claim(self, subscriber: str, most: int, lease_seconds: int) -> list[Notification]:
        arguments = {"subscriber": subscriber, "max_notifications": most, "lease_seconds": lease_seconds}
        return await self._rpc.call("claim_notifications", _NOTIFICATIONS, arguments)

    async def finish(self, notification: Notification) -> bool:
        """Return whether this attempt still counted."""
        return await self._rpc.call("finish_notification", _KNOWN, _attempt(notification))

    async def fail(
        self, notification: Notification, message: str, *, retry: bool, retry_seconds: int | None
    ) -> bool:
        """Return whether this attempt still counted."""
        arguments = {**_attempt(notification), "message": message, "retry": retry}
        if retry_seconds is not None:
            arguments["retry_seconds"] = retry_seconds
        return await self._rpc.call("fail_notification", _KNOWN, arguments)


def _attempt(notification: Notification) -> dict[str, Any]:
    return {"notification_id": notification.notification_id, "attempt": notification.attempt}
