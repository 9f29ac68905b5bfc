"""What holds for all tests."""

import signal


def pytest_configure():
    """Let Ctrl-C be what it is in a terminal: a shell without job control starts what it runs with & deaf to it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
