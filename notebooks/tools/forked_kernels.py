"""Kernels forked from a process that has imported the libraries, so that the tests of the notebooks start quickly.

A kernel that starts from nothing imports PyTorch and the other libraries, for some five seconds. Here the fork server
of `multiprocessing`, a process without threads, imports them once for each process of the tests, and each kernel is a
copy of it. It is used on Linux; Windows has none, and macOS's system libraries may fail after a fork.
"""

import multiprocessing
import os
import sys
from importlib.metadata import EntryPoint

from jupyter_client.provisioning import KernelProvisionerFactory, LocalProvisioner

NAME = "forked-provisioner"

# In the order in which a notebook imports them: the course sets variables that PyTorch reads when it is loaded.
LIBRARIES = (
    "birefnet_lite.course",
    "torch",
    "torchvision",
    "matplotlib.pyplot",
    "ipykernel.kernelapp",
    "ipywidgets",
    "birefnet_lite.course.checks",
    "birefnet_lite.analysis",
    "birefnet_lite.training",
    "widgets",
)


def run_kernel(argv: list[str], environment: dict[str, str], folder: str | None) -> None:
    """Run an IPython kernel in this process, as `python -m ipykernel_launcher` does, until it is shut down."""
    from ipykernel.kernelapp import IPKernelApp

    os.setsid()  # a group of its own, which the client interrupts and kills
    os.environ.clear()
    os.environ.update(environment, JPY_PARENT_PID=str(os.getppid()))  # the kernel ends when the fork server does
    if folder:
        os.chdir(folder)
    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nothing, stream)
    sys.argv = argv
    sys.path.insert(0, "")
    IPKernelApp.launch_instance(argv=argv[1:])


class ForkedKernel:
    """A forked kernel with the methods of `subprocess.Popen` that a provisioner calls."""

    stdin = stdout = stderr = None

    def __init__(self, argv: list[str], environment: dict[str, str], folder: str | None):
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(LIBRARIES))
        self._process = context.Process(target=run_kernel, args=(argv, environment, folder), daemon=True)
        self._process.start()
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """The exit status, or None while the kernel runs."""
        return self._process.exitcode

    def wait(self) -> int | None:
        """Wait until the kernel has ended, and return its exit status."""
        self._process.join()
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send a signal to the kernel's process."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End the kernel at once."""
        self._process.kill()

    def terminate(self) -> None:
        """Ask the kernel to end."""
        self._process.terminate()


class ForkedProvisioner(LocalProvisioner):
    """Starts kernels of the tests' own Python by a fork."""

    async def launch_kernel(self, cmd, **options):
        """Fork a kernel for the command `python -m ipykernel_launcher ARGUMENTS`."""
        folder = options.get("cwd")
        self.process = ForkedKernel(cmd[2:], options.get("env") or dict(os.environ), folder and str(folder))
        self.pid = self.pgid = self.process.pid
        self.cwd = folder or os.getcwd()
        return self.connection_info


def fork_kernels() -> None:
    """Let the kernels that this process starts be forked, where that is safe."""
    if sys.platform == "linux":
        factory = KernelProvisionerFactory.instance()
        factory.provisioners[NAME] = EntryPoint(NAME, f"{__name__}:ForkedProvisioner", factory.GROUP_NAME)
        factory.default_provisioner_name = NAME
