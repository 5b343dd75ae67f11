import os

# The short forms are part of `make test`; `make soak` sets this and runs them whole.
SOAK = "SOAK" in os.environ
