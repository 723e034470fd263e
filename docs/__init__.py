"""The site: `python -m docs` builds it (see `__main__.py`)."""
