"""The program `birefnet_lite`, also called as `python -m birefnet_lite`; see `birefnet_lite.cli`."""

import sys

from birefnet_lite.cli.main import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
