"""For nbval, which runs the notebooks: their kernels inherit these variables."""

import os

from forked_kernels import fork_kernels

os.environ["BIREFNET_PROGRESS"] = "off"  # the user's progress is neither read nor changed
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # see tests/conftest.py

fork_kernels()
