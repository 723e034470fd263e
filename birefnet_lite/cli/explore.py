"""`explore`: open the live explorer in a browser, or write it as a file or a folder."""

import argparse
import signal
import tempfile
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from birefnet_lite.cli import CommandError, describe_error, report
from birefnet_lite.output import check_target

if TYPE_CHECKING:
    from birefnet_lite.network.birefnet import BiRefNet

MOST_BYTES = 200e6
"""A larger file of weights does not fit into a browser's page beside its maps."""
SECONDS_PER_MILLION = 0.1
"""Of a run in a page at the size of `nano`, for each million weights, on one core."""


def run(options: argparse.Namespace) -> int:
    """Write the explorer, or serve it until the keyboard stops it."""
    inputs = [options.model] if options.model else []
    if options.output:
        try:
            check_target(options.output, inputs)
        except (ValueError, OSError) as error:
            raise CommandError(describe_error(error)) from error
    if options.folder and Path(options.folder).is_file():
        raise CommandError(f"{options.folder} is a file; --folder takes a folder")
    model, weights = _open_model(options.model)
    from widgets.explorer import page

    try:
        samples = page.read_samples(options.photos) if options.photos else None
        if options.output:
            page.write_file(options.output, model, weights, samples)
            size = Path(options.output).stat().st_size
            report(f"{options.output}: {size / 1e6:.1f} MB; open it in a browser, it needs no network")
        elif options.folder:
            page.write_folder(options.folder, model, weights, samples)
            report(f"{options.folder}: put this folder on any web server")
        else:
            _turn_signals_into_interrupts()
            with tempfile.TemporaryDirectory(prefix="birefnet-explorer-") as folder:
                page.write_folder(folder, model, weights, samples)
                _serve(Path(folder), options.no_browser)
    except (ImportError, ValueError) as error:
        raise CommandError(describe_error(error)) from error
    return 0


def _open_model(name: str | None) -> "tuple[BiRefNet, Path]":
    from birefnet_lite.checkpoints import CheckpointError, load
    from widgets.explorer.graph import SHIPPED

    try:
        if name is None:
            return load("nano", "cpu"), SHIPPED
        path = Path(name)
        if path.suffix != ".safetensors" or not path.is_file():
            raise CommandError(f"{name}: --model takes a .safetensors file that training or save() wrote")
        if path.stat().st_size > MOST_BYTES:
            raise CommandError(
                f"{name} is {path.stat().st_size / 1e6:.0f} MB, too large for a page: at most {MOST_BYTES / 1e6:.0f} MB"
            )
        model = load(path, "cpu")
    except CheckpointError as error:
        raise CommandError(str(error)) from error
    report(f"{name}: {_describe(model, path)}")
    return model, path


def _describe(model: Any, path: Path) -> str:
    weights = sum(parameter.numel() for parameter in model.parameters())
    height, width = model.config.train_size
    seconds = SECONDS_PER_MILLION * weights / 1e6 * (height * width) / 256**2
    return f"{path.stat().st_size / 1e6:.0f} MB to load; expect about {max(seconds, 0.1):.1f} s for a photo"


def _turn_signals_into_interrupts() -> None:
    """Let `kill` and a closed terminal raise KeyboardInterrupt, so that the temporary folder is deleted."""
    for name in ("SIGTERM", "SIGHUP"):  # Windows has no SIGHUP
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.default_int_handler)


def _serve(folder: Path, quiet: bool) -> None:
    from widgets.explorer.server import make_server

    with make_server(folder) as server:
        address = f"http://127.0.0.1:{server.server_address[1]}/"
        print(address, flush=True)
        if not quiet:
            webbrowser.open(address)
            report("Ctrl+C stops the explorer")
        with suppress(KeyboardInterrupt):
            server.serve_forever()
