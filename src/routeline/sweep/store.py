"""The folder of a run: a manifest, one file a block, results. Files appear whole or not at all.

out/run.json            what is being computed, its digest, units and assumptions
out/blocks/*.parquet    one file a block (or *.npz: partial reductions)
out/NAME.parquet        results of reducers, written at the end
out/done.json           written last
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..errors import RoutelineError, shorten
from . import identity
from .grid import Space
from .outputs import OUTPUTS

MANIFEST, DONE, BLOCKS, LOCK = "run.json", "done.json", "blocks", ".lock"
TEMPORARY = ".tmp-"


def write_whole(path: str, fill: Callable[[Any], None]) -> None:
    """Write a file so that it is there whole or not at all: temporary name, fsync, rename.

    Raises:
        RoutelineError: the disk is full or the folder cannot be written; the temporary file is removed.
    """
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f"{TEMPORARY}{os.getpid()}-{name}")
    try:
        with open(temporary, "wb") as f:
            fill(f)
            f.flush()
            os.fsync(f.fileno())
        os.replace(temporary, path)
        _sync_folder(folder)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.remove(temporary)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise RoutelineError(
                f"the disk of {shorten(folder)} is full; free some space, then run again with --resume: "
                "finished blocks are kept"
            ) from None
        raise RoutelineError(f"cannot write {shorten(path)}: {error.strerror or error}") from None


def _sync_folder(folder: str) -> None:
    handle = os.open(folder or ".", os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: str, data: Any) -> None:
    """Write JSON whole."""
    text = json.dumps(data, indent=1, allow_nan=False, ensure_ascii=False)
    write_whole(path, lambda f: f.write(text.encode()))


class Folder:
    """An output folder, held by one run at a time."""

    def __init__(self, path: str, space: Space) -> None:
        self.path, self.space = os.path.abspath(path), space
        self._lock: Any = None

    def open(self, *, resume: bool) -> set[int]:
        """Claim the folder and return the blocks that are already there.

        Raises:
            RoutelineError: the folder holds another run or other files, is in use, or holds this run and
                `resume` was not asked for.
        """
        manifest = self._inspect()
        if manifest is not None and not resume:
            raise RoutelineError(
                f"{shorten(self.path)} already holds this run; continue it with --resume, or choose another folder"
            )
        try:
            os.makedirs(os.path.join(self.path, BLOCKS), exist_ok=True)
        except OSError as error:
            raise RoutelineError(f"cannot create {shorten(self.path)}: {error.strerror or error}") from None
        self._claim()
        if manifest is None:
            write_json(os.path.join(self.path, MANIFEST), self.manifest())
        for name in os.listdir(os.path.join(self.path, BLOCKS)):
            if name.startswith(TEMPORARY):
                with contextlib.suppress(OSError):
                    os.remove(os.path.join(self.path, BLOCKS, name))
        return {i for i in range(self.space.blocks) if self.has(i)} if manifest is not None else set()

    def _inspect(self) -> dict[str, Any] | None:
        if not os.path.exists(self.path):
            return None
        if not os.path.isdir(self.path):
            raise RoutelineError(f"{shorten(self.path)} is a file; give a folder for the results")
        try:
            with open(os.path.join(self.path, MANIFEST), encoding="utf-8") as f:
                found = json.load(f)
        except FileNotFoundError:
            others = [n for n in os.listdir(self.path) if n not in (BLOCKS, LOCK) and not n.startswith(TEMPORARY)]
            blocks = os.path.join(self.path, BLOCKS)
            if os.path.isdir(blocks):
                others += [n for n in os.listdir(blocks) if not n.startswith(TEMPORARY)]
            if others:
                raise RoutelineError(
                    f"{shorten(self.path)} holds other files ({shorten(others[0], 40)}); give an empty or new folder"
                ) from None
            return None
        except (OSError, ValueError) as error:
            raise RoutelineError(
                f"cannot read {MANIFEST} in {shorten(self.path)} ({shorten(error)}); give a new folder"
            ) from None
        digest = found.get("digest") if isinstance(found, dict) else None
        if not isinstance(digest, str):
            raise RoutelineError(f"{MANIFEST} in {shorten(self.path)} is not of a sweep; give an empty or new folder")
        if digest != self.space.digest:
            raise RoutelineError(
                f"{shorten(self.path)} holds blocks of another run ({shorten(digest)}: other axes, "
                "settings, outputs or versions); choose another folder, nothing was overwritten"
            )
        return found

    def _claim(self) -> None:
        try:
            import fcntl
        except ImportError:  # pragma: no cover - not on POSIX
            return
        self._lock = open(os.path.join(self.path, LOCK), "ab")  # noqa: SIM115
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            self._lock = None
            raise RoutelineError(
                f"{shorten(self.path)} is in use by another sweep; wait for it or choose another folder"
            ) from None

    def close(self) -> None:
        """Let go of the folder."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def manifest(self) -> dict[str, Any]:
        space = self.space
        return {
            "digest": space.digest, "run": identity.describe(space), "points": space.points, "blocks": space.blocks,
            "order": [a.name for a in (*space.looped, *space.numeric)], "columns": column_notes(space),
            "assumptions": assumptions(space),
        }  # fmt: skip

    # --- blocks ---

    def block_path(self, block: int) -> str:
        kind = "npz" if self.space.reducers else "parquet"
        return os.path.join(self.path, BLOCKS, f"block-{block:07d}.{kind}")

    def has(self, block: int) -> bool:
        """A finished block of this run that reads back whole."""
        path = self.block_path(block)
        if not os.path.exists(path):
            return False
        try:
            if self.space.reducers:
                with np.load(path, allow_pickle=False) as f:
                    return str(f["digest"]) == self.space.digest
            import pyarrow.parquet as pq

            meta = pq.read_metadata(path).metadata or {}
            return meta.get(b"routeline.digest", b"").decode() == self.space.digest
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return False

    def write_partial(self, block: int, arrays: Mapping[str, np.ndarray]) -> None:
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, digest=np.array(self.space.digest), **arrays)
        write_whole(self.block_path(block), lambda f: f.write(buffer.getbuffer()))

    def read_partial(self, block: int) -> dict[str, np.ndarray]:
        with np.load(self.block_path(block), allow_pickle=False) as f:
            return {k: f[k] for k in f.files if k != "digest"}

    def write_rows(self, block: int, columns: Mapping[str, tuple[np.ndarray, np.ndarray | None]]) -> None:
        """A block as Parquet rows: every axis, every output; missing values are nulls."""
        write_rows(self.block_path(block), self.space, block, columns)

    def write_table(self, name: str, table: Mapping[str, np.ndarray]) -> None:
        """A reducer's result as NAME.parquet."""
        pa, pq = arrow()
        space = self.space
        columns = {k: pa.array(v, mask=np.isnan(v) if v.dtype.kind == "f" else None) for k, v in table.items()}
        made = pa.table(columns).replace_schema_metadata(metadata(space))
        write_whole(os.path.join(self.path, f"{name}.parquet"), lambda f: pq.write_table(made, f))


def arrow() -> tuple[Any, Any]:
    """pyarrow and pyarrow.parquet.

    Raises:
        RoutelineError: not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise RoutelineError("writing Parquet needs pyarrow; pip install 'routeline[sweep]'") from None
    return pa, pq


def column_notes(space: Space) -> dict[str, dict[str, str]]:
    """Unit and meaning of every column."""
    notes = {a.name: {"unit": a.kind.unit, "what": a.kind.what} for a in space.axes}
    for name in space.outputs:
        known = OUTPUTS[name]
        notes[name] = {"unit": known.unit, "what": known.what}
        if known.labels:
            notes[name]["codes"] = ", ".join(f"{i} {text}" for i, text in enumerate(known.labels))
    return notes


def assumptions(space: Space) -> dict[str, Any]:
    """Every setting that is no axis, as used: what was given and what is a default."""
    from dataclasses import fields

    from ..scenario import Scenario

    out: dict[str, Any] = {}
    swept = {a.name for a in space.axes}
    for f in fields(Scenario):
        name = "basis" if f.name == "memory" else f.name
        if name in swept:
            continue
        given = name in space.fixed
        value = space.fixed[name] if given else f.default
        if value is None and not given:
            continue
        shown = value if isinstance(value, (str, int, float, bool)) else str(value)
        out[f.name] = {"value": shown, "unit": f.metadata["unit"], "kind": "given" if given else "default"}
    for name, value in space.fixed.items():
        if name not in out and name != "basis":
            shown = value if isinstance(value, (str, int, float, bool)) else getattr(value, "name", str(value))
            out[name] = {"value": shown, "kind": "given"}
    out["derivation"] = {
        "value": "Routeline's own; the settings of arXiv:2603.08960 are unknown beyond its abstract", "kind": "derived",
    }  # fmt: skip
    return out


def metadata(space: Space) -> dict[str, str]:
    """Schema metadata of every Parquet file."""
    return {
        "routeline.digest": space.digest,
        "routeline.columns": json.dumps(column_notes(space)),
        "routeline.assumptions": json.dumps(assumptions(space)),
    }


def write_rows(
    path: str, space: Space, block: int, columns: Mapping[str, tuple[np.ndarray, np.ndarray | None]]
) -> None:
    """One Parquet file of rows; axes are dictionary-encoded, codes become text."""
    pa, pq = arrow()
    n = len(next(iter(columns.values()))[0])
    start = space.start_of(block)
    made: dict[str, Any] = {}
    notes = column_notes(space)
    inner = np.unravel_index(np.arange(start, start + n), space.shape) if space.shape else ()
    names = space.names_of(space.cell_at(block))
    for a in space.axes:
        if a.name in names:
            value = names[a.name]
            plain = value if isinstance(value, (str, int, float)) else getattr(value, "name", str(value))
            made[a.name] = pa.DictionaryArray.from_arrays(np.zeros(n, np.int32), pa.array([plain]))
    for a, index in zip(space.numeric, inner, strict=True):
        made[a.name] = pa.DictionaryArray.from_arrays(index.astype(np.int32), pa.array(np.asarray(a.values, float)))
    for name, (values, missing) in columns.items():
        labels = OUTPUTS[name].labels
        if labels:
            made[name] = pa.DictionaryArray.from_arrays(values.astype(np.int32), pa.array(labels))
        else:
            made[name] = pa.array(values, mask=missing)
    ordered = [*(a.name for a in space.axes), *columns]
    fields = [pa.field(k, made[k].type, metadata=notes[k]) for k in ordered]
    table = pa.Table.from_arrays([made[k] for k in ordered], schema=pa.schema(fields, metadata=metadata(space)))
    with_dictionary = [k for k in ordered if pa.types.is_dictionary(made[k].type)]
    write_whole(
        path,
        lambda f: pq.write_table(table, f, compression="zstd", compression_level=1, use_dictionary=with_dictionary),
    )
