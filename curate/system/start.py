"""Where a command starts: Ctrl-C while its modules are loaded ends it without a traceback."""

import signal
from importlib import import_module


def run(module: str) -> None:
    """Load a module with a command line and call its `main`.

    Until that has begun to listen, Ctrl-C ends the process as it does one that never heard of it.
    """
    listens = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not with nohup
    if listens:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    main = import_module(module).main
    if listens:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    main()
