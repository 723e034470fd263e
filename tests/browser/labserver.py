"""Chromium, and a JupyterLab server in a folder of its own: for the browser tests and for benchmarks/viewer.py."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import nbformat

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
]  # fmt: skip


# The outputs of every code cell of the notebook in front: [number of the run, kinds of its outputs]. A widget's kind is
# "widget" and its text, which begins with the name of its class; a stream's is its name and text; an empty output has
# none.
OUTPUTS = """() => {
    const widget = 'application/vnd.jupyter.widget-view+json';
    const kinds = (data) => Object.keys(data).map((kind) => (kind === widget ? `widget ${data['text/plain']}` : kind));
    const { model } = window.jupyterapp.shell.currentWidget.context;
    return [...model.cells].filter((cell) => cell.type === 'code').map((cell) => [
        cell.executionCount,
        cell.outputs.toJSON().flatMap((output) => (
            output.name ? `${output.name} ${output.text}` : kinds(output.data ?? { error: 0 })
        )),
    ]);
}"""


def chromium_path():
    """The system's browser, or the one that playwright installs."""
    for name in ("chromium", "chromium-browser", "google-chrome", "chrome"):
        if found := shutil.which(name):
            return found
    return None


class Lab:
    """A JupyterLab server in a folder of its own."""

    def __init__(self, folder, port):
        self.folder = folder
        self.url = f"http://127.0.0.1:{port}"

    def write(self, name, *cells):
        """A notebook of code cells."""
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, self.folder / name)

    def open(self, page, name):
        """Open a notebook and wait until its kernel listens."""
        page.goto(f"{self.url}/doc/tree/{name}")
        page.wait_for_function("() => window.jupyterapp")
        page.evaluate(
            """async (name) => {
                const app = window.jupyterapp;
                await app.restored;
                const widget = await app.commands.execute('docmanager:open', { path: name });
                await widget.context.ready;
                await widget.context.sessionContext.ready;
                const { kernel } = widget.context.sessionContext.session;
                await kernel.info;
                while (kernel.connectionStatus !== 'connected') await new Promise((done) => setTimeout(done, 50));
            }""",
            name,
        )

    def run_all(self, page):
        """Run every cell of the notebook in front; comes back when they are done."""
        page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")

    def kernels(self):
        """The kernels that run."""
        with urllib.request.urlopen(f"{self.url}/api/kernels", timeout=120) as answer:
            return [kernel["id"] for kernel in json.load(answer)]

    def stop_kernels(self):
        """Stop them all."""
        for kernel in self.kernels():
            request = urllib.request.Request(f"{self.url}/api/kernels/{kernel}", method="DELETE")
            urllib.request.urlopen(request, timeout=120).close()


def start_lab(folder):
    """The server's process and its `Lab`, ready to answer."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    names += ("JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
    environment = {**os.environ, **{name: str(folder / name.lower()) for name in names}}
    news = folder / "jupyterlab_settings_dir" / "@jupyterlab" / "apputils-extension"
    news.mkdir(parents=True)
    (news / "notification.jupyterlab-settings").write_text('{"fetchNews": "false", "checkForUpdates": false}')
    root = folder / "root"
    root.mkdir()
    command = [
        sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}",
        "--ServerApp.port_retries=0", "--IdentityProvider.token=", "--ServerApp.password=",
        "--ServerApp.disable_check_xsrf=True", f"--ServerApp.root_dir={root}",
        "--LabApp.expose_app_in_browser=True", "--LabApp.extension_manager=readonly",
    ]  # fmt: skip
    log = (folder / "lab.log").open("w")
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    lab = Lab(root, port)
    end = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < end:
        try:
            lab.kernels()
            return process, lab
        except OSError:
            time.sleep(0.2)
    process.kill()
    raise RuntimeError(f"JupyterLab did not start: {(folder / 'lab.log').read_text()[-2000:]}")


def ask(page, code):
    """Run code in the kernel of the notebook in front; returns its output or its error."""
    return page.evaluate(
        """async (code) => {
            const { kernel } = window.jupyterapp.shell.currentWidget.context.sessionContext.session;
            const future = kernel.requestExecute({ code, store_history: false });
            let text = '';
            future.onIOPub = ({ content }) => { text += content.text ?? content.evalue ?? ''; };
            await future.done;
            return text.trim();
        }""",
        code,
    )


def wait_until(condition, page, seconds=120):
    """Return as soon as `condition()` is true; `TimeoutError` where it is not within `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{condition} was not true within {seconds} seconds.")
        page.wait_for_timeout(100)  # the page's events are handled meanwhile


def stop_lab(process, server):
    """Stop the kernels, then the server."""
    server.stop_kernels()
    process.terminate()
    try:
        process.wait(120)
    except subprocess.TimeoutExpired:
        process.kill()
