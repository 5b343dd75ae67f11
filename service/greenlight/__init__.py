"""Approve a plan, get its agent: the HTTP service and the commands around it."""

__version__ = "0.3.0"

BUCKET = "plans"  # where the documents are, in Storage
SESSION_ID = "[A-Za-z0-9_-]{1,128}"
MAX_DOCUMENT_BYTES = 1_048_576  # the bucket's limit
