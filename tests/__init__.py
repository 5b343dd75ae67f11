import os
import random

# The tests with the mark `soak` are short in `make test`; `make soak` sets this and runs them whole.
SOAK = "SOAK" in os.environ

# Of all that is random: `make soak` draws a new one, and `SEED=…` repeats a run. pytest-xdist's workers inherit it.
SEED = int(os.environ.setdefault("SEED", str(random.SystemRandom().randrange(2**32) if SOAK else 20261124)))
