"""config.json from a Hugging Face hub, through huggingface_hub (HF_ENDPOINT, HF_HUB_OFFLINE, its cache)."""

from __future__ import annotations

import json
import os
import re
import socket
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from .errors import RoutelineError, shorten

ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}$")
LARGEST = 5_000_000
FILES = ("config.json", "hf_quant_config.json")


def fetch(text: str, *, known: str | None = None) -> tuple[dict[str, Any], dict[str, Any] | None, str]:
    """(config, hf_quant_config or None, source) of a model id, optionally `owner/name@revision`.

    Raises:
        RoutelineError: a malformed id, no such model, gated, offline and not cached, or no network.
    """
    model, _, revision = text.partition("@")
    offer = f"; the catalogue has {known}: use that name" if known else ""
    if not ID.match(model):
        raise RoutelineError(f"{shorten(text)!r} is neither an existing path nor a Hugging Face id (owner/name){offer}")
    path = _get(model, FILES[0], revision or None, offer)
    if path is None:
        raise RoutelineError(f"{shorten(model)} has no config.json on the hub{offer}")
    side = _get(model, FILES[1], revision or None, offer)
    commit = re.search(r"snapshots[\\/]([0-9a-f]{7,64})", path)
    source = f"huggingface hub: {model}" + (f" at {commit[1][:12]}" if commit else "")
    return _load(path), None if side is None else _load(side), source


def _get(model: str, file: str, revision: str | None, offer: str) -> str | None:
    """Local path of a hub file; None when the repository has no such file."""
    import warnings

    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from huggingface_hub import constants, hf_hub_download
        from huggingface_hub import errors as hub

        local = not _reachable(constants.ENDPOINT)

        try:
            return hf_hub_download(model, file, revision=revision, etag_timeout=10, local_files_only=local)
        except hub.GatedRepoError:
            why = "is gated: accept its terms and set HF_TOKEN"
        except hub.RevisionNotFoundError:
            why = f"has no revision {shorten(revision, 40)!r}"
        except hub.RepositoryNotFoundError:
            why = "does not exist or is private (set HF_TOKEN if it is yours)"
        except hub.LocalEntryNotFoundError:
            if file != FILES[0]:
                return None
            why = "is not in the local cache, and the hub is offline or cannot be reached (HF_HUB_OFFLINE, HF_ENDPOINT)"
        except hub.EntryNotFoundError:
            return None
        except hub.OfflineModeIsEnabled:
            if file != FILES[0]:
                return None
            why = "is not in the local cache and HF_HUB_OFFLINE forbids fetching it"
        except Exception as error:  # any transport error of the hub client ends as one sentence
            why = f"could not be fetched ({shorten(type(error).__name__, 40)}: {shorten(error, 100)})"
    raise RoutelineError(f"{shorten(model)} {why}{offer}")


@lru_cache(maxsize=4)
def _reachable(endpoint: str) -> bool:
    """One attempt at the hub's port, so that being offline costs a moment and not the client's five retries.

    Behind a proxy the question is left to the client.
    """
    proxies = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy")
    if any(os.environ.get(p) for p in proxies):
        return True
    url = urlsplit(endpoint)
    try:
        port = url.port or (80 if url.scheme == "http" else 443)
        with socket.create_connection((url.hostname or "", port), timeout=5):
            return True
    except (OSError, ValueError):
        return False


def _load(path: str) -> dict[str, Any]:
    try:
        if os.path.getsize(path) > LARGEST:
            raise RoutelineError(f"{os.path.basename(path)} on the hub is larger than {LARGEST} bytes")
        with open(path, encoding="utf-8") as f:
            value = json.load(f)
    except (UnicodeDecodeError, RecursionError) as error:
        raise RoutelineError(f"{os.path.basename(path)} on the hub cannot be read: {shorten(error, 60)}") from None
    except RoutelineError:
        raise
    except ValueError as error:
        raise RoutelineError(f"{os.path.basename(path)} on the hub is not valid JSON ({shorten(error, 60)})") from None
    if not isinstance(value, dict):
        raise RoutelineError(f"{os.path.basename(path)} on the hub holds no JSON object")
    return value
