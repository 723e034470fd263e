"""A page of the browser with its errors and its requests to other machines."""

WAIT = 240_000  # ms; only a test that fails waits so long


class Watched:
    """A page that notes what it asked for beyond this machine, and what went wrong in it."""

    def __init__(self, page):
        self.page = page
        self.outside = []
        self.errors = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._note)

    def _note(self, request):
        if not request.url.startswith(("data:", "blob:", "file:", "http://127.0.0.1", "ws://127.0.0.1")):
            self.outside.append(request.url)
