"""`python -m dashboard`: the dashboard, refused off loopback as long as nobody would be asked who they are.

TIDEGAUGE_BIND_ADDRESS and TIDEGAUGE_DASHBOARD_PORT say where; what follows on the command line goes to Streamlit.
"""

from __future__ import annotations

import gc
import importlib
import os
import pkgutil
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from dashboard.access import AccessSettingsError, read_access

SERVED = Path(__file__).with_name("served.py")
_OF_OIDC = ("redirect_uri", "cookie_secret", "client_id", "client_secret", "server_metadata_url")


def arguments(environ: Mapping[str, str], more: Sequence[str]) -> list[str]:
    """Return the arguments of Streamlit's command. Raises AccessSettingsError: it must not be served like this."""
    host = environ.get("TIDEGAUGE_BIND_ADDRESS") or "127.0.0.1"
    port = environ.get("TIDEGAUGE_DASHBOARD_PORT") or "8501"
    if not port.isdecimal() or not 0 < int(port) <= 65535:
        raise AccessSettingsError(f"TIDEGAUGE_DASHBOARD_PORT: expected a port from 1 to 65535, got {port!r}")
    if read_access(environ, host=host).way == "oidc":
        check_oidc(secrets_files(environ))
    options = ["--server.headless", "true", "--server.address", host, "--server.port", port]
    # No collection of all garbage after every run either: it would hold up what the run has just sent.
    options += ["--server.fileWatcherType", "none", "--runner.postScriptGC", "false"]
    return ["run", str(SERVED), *options, *more]


def secrets_files(environ: Mapping[str, str]) -> list[Path]:
    """Return where Streamlit looks for its secrets."""
    if named := environ.get("STREAMLIT_SECRETS_FILES"):
        return [Path(part) for part in named.split(",") if part]
    return [folder / ".streamlit" / "secrets.toml" for folder in (Path.home(), Path.cwd(), SERVED.parent)]


def check_oidc(files: Sequence[Path]) -> None:
    """See that the login can work. Raises AccessSettingsError naming the file and the key, never a value."""
    for file in files:
        if not file.is_file():
            continue
        try:
            auth = tomllib.loads(file.read_text(encoding="utf-8")).get("auth", {})
        except (OSError, ValueError) as error:
            raise AccessSettingsError(f"{file}: expected readable TOML, got {type(error).__name__}") from error
        missing = [name for name in _OF_OIDC if not auth.get(name)]
        if not missing:
            return
        raise AccessSettingsError(f"{file}: expected [auth] with {', '.join(_OF_OIDC)}; missing: {', '.join(missing)}")
    raise AccessSettingsError(
        f"TIDEGAUGE_DASHBOARD_ACCESS=oidc: expected [auth] in one of {', '.join(str(file) for file in files)}, got none"
    )


def import_early(names: Sequence[str], *, is_up: Callable[[], bool], stop_after_seconds: float = 60.0) -> None:
    """Import modules once the server is up: otherwise the very first visitor would wait for seconds until they are."""
    deadline = time.monotonic() + stop_after_seconds
    while not is_up():
        if time.monotonic() > deadline:
            return
        time.sleep(0.05)  # polling with a deadline
    for name in names:
        importlib.import_module(name)


def page_modules() -> list[str]:
    """Return what the pages import of this package; the pages themselves and app.py draw when they are imported."""
    found = {each.name for each in pkgutil.walk_packages([str(SERVED.parent)], "dashboard.")}
    return sorted(found - {"dashboard.app", "dashboard.__main__", "dashboard.served"})


def _in_the_background() -> None:
    from streamlit import runtime

    import_early(page_modules(), is_up=runtime.exists)
    gc.collect()
    gc.freeze()  # what is imported stays: no collection while a page is drawn need look through it
    importlib.import_module("dashboard.keep_warm").keep_warm(threading.Event())  # for as long as the process lives


def main() -> None:
    """Run Streamlit, or say on stderr why not (exit 2)."""
    try:
        argv = arguments(os.environ, sys.argv[1:])
    except AccessSettingsError as error:
        sys.stderr.write(f"dashboard: {error}\n")
        sys.exit(2)
    from streamlit.web.cli import main as run_streamlit

    threading.Thread(target=_in_the_background, daemon=True, name="ahead").start()
    run_streamlit(argv, prog_name="streamlit")


if __name__ == "__main__":
    main()
