"""What a container is started with, held to the code's own parsers (ours) or to the table of images (others')."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from loadgen.__main__ import parse_options
from loadgen.safety import UnsafeLoadError
from tests.deployment.known import IMAGES, argv_of, components, foreign, target_of

_PLAIN = re.compile(r"\d+(?:[smhdw]|kB|MB|GB)?")
DATA = "/data"


def command_findings(image: str, words: Sequence[str], *, mounts: Collection[str], hosts: str) -> list[str]:
    """Return what nobody knows of a command. mounts: files and folders in the container. hosts: where load may go."""
    target = target_of(image)
    if target is not None:
        return _ours(target, list(words), mounts, hosts)
    if image not in foreign():
        return []
    known = foreign()[image]
    found = [] if words[0] in known.programs or words[0].startswith("-") else [f"{words[0]}: not a program of {image}"]
    for word in words[1:] if words[0] in known.programs else words:
        name, equals, value = word.partition("=")
        if not equals:
            name, value = word, ""
        if word.isdecimal():
            continue  # a port: looked at with the ports
        if not _is_known(name, known.words, mounts) or not (value == "" or _is_known(value, (), mounts)):
            found.append(f"{word}: nothing that {image} is known to take")
    return found


def _is_known(word: str, words: Collection[str], mounts: Collection[str]) -> bool:
    return word in words or word in mounts or _PLAIN.fullmatch(word) is not None


def _ours(target: str, words: list[str], mounts: Collection[str], hosts: str) -> list[str]:
    plain = list(components()[target].argv)
    if words == plain or (target == "reference-app" and words == list(argv_of("prepare"))):
        return []
    if target == "edge" and words[:4] == [*plain, "--forget-in"] and len(words) == 5:
        inside = any(words[4].startswith(f"{mount}/") for mount in mounts)
        return [] if inside else [f"{words[4]}: in no volume"]
    if target == "loadgen" and words[:3] == ["python", "-m", "loadgen"]:
        return _load(words[3:], hosts)
    return [f"{' '.join(words)}: not how {target} is started"]


def _load(arguments: list[str], hosts: str) -> list[str]:
    try:
        options = parse_options(arguments, {"TIDEGAUGE_LOAD_ALLOWED_HOSTS": hosts})
    except (SystemExit, UnsafeLoadError, ValueError) as error:
        return [f"loadgen {' '.join(arguments)}: {error}"]
    found = [] if str(options.out) == f"{DATA}/load" else [f"--out {options.out}: expected {DATA}/load"]
    if options.peak_rps not in IMAGES["load"].values():
        found.append(f"--peak-rps {options.peak_rps}: not in deploy/images.toml")
    return found


def docker_command_findings(target: str, words: Sequence[str]) -> list[str]:
    """Return whether a target's CMD is what the stack starts; the dashboard listens on all addresses in a container."""
    wanted = ["0.0.0.0" if word == "127.0.0.1" else word for word in components()[target].argv]
    return [] if list(words) == wanted else [f"{target}: CMD {list(words)} is not {wanted}"]
