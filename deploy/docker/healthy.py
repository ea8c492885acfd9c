"""`python healthy.py URL`: exit 0 when the URL is answered with 200 within three seconds. For HEALTHCHECK."""

from __future__ import annotations

import sys
import urllib.request

TIMEOUT_SECONDS = 3.0


def main(url: str) -> int:
    """Return 0 when the server is well, else 1, and say why."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 - the URL is the image's own
            return 0 if answer.status == 200 else 1
    except OSError as error:
        print(f"{url}: {error}", file=sys.stderr)  # noqa: T201 - docker inspect shows it
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
