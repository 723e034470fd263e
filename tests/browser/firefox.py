"""Firefox without a window, driven over WebDriver BiDi: playwright drives only a Firefox of its own."""

import json
import os
import re
import shutil
import subprocess
import threading

import websocket

# No updates, no telemetry, no first-run page: nothing of its own on the network.
PREFERENCES = {
    "app.normandy.enabled": False,
    "app.update.disabledForTesting": True,
    "browser.newtabpage.enabled": False,
    "browser.safebrowsing.downloads.remote.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,",
    "toolkit.telemetry.enabled": False,
}
PATIENCE = 240  # seconds; only a test that fails waits so long


def firefox_path():
    """The system's Firefox, or None."""
    return next((found for name in ("firefox-esr", "firefox") if (found := shutil.which(name))), None)


class Firefox:
    """One window with one page. It notes what the page asks for and what goes wrong in it.

    Args:
        folder: An empty folder, for its profile.
    """

    def __init__(self, folder):
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in PREFERENCES.items()]
        (folder / "user.js").write_text("\n".join(lines))
        self.requests, self.errors, self._count = [], [], 0
        self.process = subprocess.Popen(
            [firefox_path(), "--headless", "--no-remote", "--profile", folder, "--remote-debugging-port=0"],
            env={**os.environ, "HOME": str(folder)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        try:
            self.socket = websocket.create_connection(
                f"{self._address()}/session", timeout=PATIENCE, suppress_origin=True
            )
            self.send("session.new", capabilities={})
            self.send("session.subscribe", events=["log.entryAdded", "network.beforeRequestSent"])
            self.context = self.send("browsingContext.getTree")["contexts"][0]["context"]
        except BaseException:
            self.close()
            raise

    def _address(self):
        """Where it listens, which it says on its error stream; what comes after that is thrown away."""
        said = []
        for line in self.process.stderr:
            said.append(line)
            if found := re.search(r"listening on (ws://\S+)", line):
                threading.Thread(target=self.process.stderr.read, daemon=True).start()
                return found[1]
        raise RuntimeError(f"Firefox did not start: {''.join(said)[-1000:]}")

    def send(self, method, **parameters):
        """The answer to a command of WebDriver BiDi; `RuntimeError` where it is an error."""
        self._count += 1
        self.socket.send(json.dumps({"id": self._count, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.socket.recv())
            if message.get("id") == self._count:
                if message["type"] == "error":
                    raise RuntimeError(f"{method}: {message['error']}: {message['message']}")
                return message["result"]
            self._note(message)

    def _note(self, event):
        parameters = event["params"]
        if event["method"] == "network.beforeRequestSent":
            self.requests.append(parameters["request"]["url"])
        elif parameters["level"] == "error":
            self.errors.append(parameters["text"])

    def goto(self, address):
        """Open an address and wait until the page is loaded."""
        self.send("browsingContext.navigate", context=self.context, url=address, wait="complete")

    def evaluate(self, expression):
        """The value of an expression in the page, a string, a number or nothing; of a promise, what it becomes."""
        found = self.send("script.evaluate", expression=expression, target={"context": self.context}, awaitPromise=True)
        if found["type"] == "exception":
            raise RuntimeError(found["exceptionDetails"]["text"])
        return found["result"].get("value")

    def close(self):
        """End the browser."""
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
