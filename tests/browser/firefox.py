"""Debian's Firefox without a window, driven by WebDriver BiDi: enough to open a page and to ask it for text."""

import json
import re
import subprocess
import threading

import websocket


class Firefox:
    """One page of a Firefox with a profile of its own in `folder`."""

    def __init__(self, path, folder, patience):
        command = [path, "--headless", "--no-remote", "--profile", str(folder), "--remote-debugging-port=0"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            if found := re.search(r"WebDriver BiDi listening on (ws://\S+)", line):
                break
        else:
            raise RuntimeError("Firefox has ended without offering WebDriver BiDi.")
        # A pipe that nobody reads would fill up and stop it.
        threading.Thread(target=self.process.stderr.read, daemon=True).start()
        # Firefox refuses a connection that names a page as its origin.
        self.socket = websocket.create_connection(f"{found[1]}/session", timeout=patience, suppress_origin=True)
        self.count = 0
        self.call("session.new", capabilities={})
        self.page = self.call("browsingContext.getTree")["contexts"][0]["context"]

    def call(self, method, **parameters):
        """The result of a command."""
        self.count += 1
        self.socket.send(json.dumps({"id": self.count, "method": method, "params": parameters}))
        while (answer := json.loads(self.socket.recv())).get("id") != self.count:
            pass
        assert answer["type"] == "success", answer
        return answer["result"]

    def open(self, address):
        """Go to an address; comes back when its document has been read."""
        self.call("browsingContext.navigate", context=self.page, url=address, wait="interactive")

    def ask(self, expression):
        """The text that an expression of JavaScript gives, awaited."""
        answer = self.call("script.evaluate", expression=expression, target={"context": self.page}, awaitPromise=True)
        assert answer["type"] == "success", answer
        return answer["result"].get("value")

    def close(self):
        """End this Firefox."""
        self.socket.close()
        self.process.terminate()
        self.process.wait(timeout=30)
