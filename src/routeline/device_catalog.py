"""The catalogue of devices: names and short forms, files read when asked for, and users' own files."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path

from .device_file import read_device
from .errors import RoutelineError, UnknownName, shorten
from .hardware import Device

_DATA = Path(__file__).parent / "data"
MAX_FILE_BYTES = 64 * 1024
"""A device's own file is a few lines; anything beyond this is another file."""

WRITE = "write e.g. 8xH200, 2x8xH100 (2 nodes of 8) or 8x./mydevice.toml"
_VENDOR_WORDS = ("nvidia", "amd", "instinct", "intel", "google", "aws", "apple", "geforce")


# --- names -----------------------------------------------------------------------------------------------------------


def fold(name: str) -> str:
    """A name without what people type differently: case, spaces, dashes, punctuation."""
    return re.sub(r"[\s\-_()/,.]+", "", name.lower())


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def data_text(name: str) -> str:
    """Text of one bundled data file."""
    return (_DATA / name).read_text(encoding="utf-8")


@cache
def _names() -> dict[str, list[str]]:
    return tomllib.loads(data_text("device_names.toml"))


@cache
def _keys() -> dict[str, str]:
    """Folded name or alias -> device name."""
    exact = {fold(name): name for name in _names()}
    return {fold(alias): name for name, aliases in _names().items() for alias in aliases} | exact


def is_known(text: str) -> bool:
    """Whether a text is a name or an alias as it stands ('4090')."""
    return fold(text) in _keys()


@cache
def _prefixes() -> dict[str, list[str]]:
    """Folded first words of names -> the devices they fit: 'rtxpro6000' -> both cards."""
    found: dict[str, list[str]] = {}
    for name in _names():
        words = re.split(r"[\s\-]+", name)
        for n in range(1, len(words)):
            found.setdefault(fold("".join(words[:n])), []).append(name)
    return found


def device_names() -> tuple[str, ...]:
    """Names of all catalogue devices, in catalogue order; reads one file."""
    return tuple(_names())


def resolve_device(text: str) -> tuple[str, tuple[str, ...]]:
    """(catalogue name, notes) of what a person typed; a note says how a short form was read.

    Case, spaces, dashes, underscores and a leading vendor word do not matter; the first whole words of
    a name do while they fit one device. 'H100' and other short forms of several parts are aliases.

    Raises:
        UnknownName: no such device (with the nearest names). RoutelineError: fits several.
    """
    key = fold(text)
    while key not in _keys() and key not in _prefixes():
        word = next((w for w in _VENDOR_WORDS if key.startswith(w) and len(key) > len(w)), None)
        if word is None:
            near = (*_names(), *(alias for aliases in _names().values() for alias in aliases))
            raise UnknownName("device", text, near, "`routeline devices` lists all, and a TOML file describes your own")
        key = key.removeprefix(word)
    several = _prefixes().get(key, [])
    if key in _keys():
        name = _keys()[key]
        others = [other for other in several if other != name]
        note = f"{shorten(text)!r} is read as {name}; the catalogue also has {', '.join(others)}"
        return name, (note,) if others and fold(name) != key else ()
    if len(several) > 1:
        raise RoutelineError(f"device {shorten(text)!r} fits {', '.join(several)}; write one of these names")
    return several[0], ()


# --- devices ---------------------------------------------------------------------------------------------------------


@cache
def _read_catalogue(slug: str) -> Device:
    return read_device(data_text(f"devices/{slug}.toml"), f"device file {slug}.toml", given=False)


def load_device(name: str) -> Device:
    """A catalogue device by name or short form, or a user's device from a TOML file's path.

    A full name reads its own file only, a short form the list of names too.
    """
    return load_noted(name)[0]


def load_noted(name: str) -> tuple[Device, tuple[str, ...]]:
    """load_device, with the notes of resolve_device on how a short form was read."""
    if not isinstance(name, str) or not name.strip() or len(name) > 1000:
        raise RoutelineError(f"{shorten(name)!r} is not a device name; {WRITE}")
    name = name.strip()
    if _is_path(name):
        return load_device_file(name), ()
    if (_DATA / "devices" / f"{_slug(name)}.toml").is_file():
        return _read_catalogue(_slug(name)), ()
    full, notes = resolve_device(name)
    return _read_catalogue(_slug(full)), notes


def _is_path(name: str) -> bool:
    return name.lower().endswith(".toml") or name.startswith(("./", "../", "/", "~/", ".\\"))


def load_device_file(path: str | Path) -> Device:
    """A user's device from a TOML file; see docs/devices.md for its keys.

    Raises:
        RoutelineError: no such file, too large, not UTF-8, or what device_file.read_device refuses.
    """
    shown = shorten(path)
    try:
        file = Path(path).expanduser()
        if not file.is_file():
            raise RoutelineError(f"no device file {shown!r}; give the path of a TOML file or a catalogue name")
        with file.open("rb") as stream:
            blob = stream.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, RoutelineError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise RoutelineError(f"device file {shown!r} cannot be read: {shorten(reason)}") from None
    if len(blob) > MAX_FILE_BYTES:
        raise RoutelineError(f"device file {shown!r} is larger than {MAX_FILE_BYTES // 1024} KiB: not a device")
    try:
        text = blob.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise RoutelineError(f"device file {shown!r} is not UTF-8 text; save it as UTF-8") from None
    return read_device(text, shown, file.stem)


def all_devices() -> tuple[Device, ...]:
    """Every catalogue device, in catalogue order; reads every file once."""
    return tuple(_read_catalogue(_slug(name)) for name in device_names())
