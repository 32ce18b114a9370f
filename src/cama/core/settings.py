"""Settings: one frozen value, read once at the edge from the environment and passed down.

Every setting is a ``CAMA_*`` variable; the ``OLLAMA_*`` name of the same meaning is a fallback. A
bad value is an error that names the variable, never a silent default.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from cama.core.duration import parse_duration, parse_keep_alive
from cama.core.errors import CamaError, InvalidOption, InvalidSetting
from cama.core.keys import ApiKey, check_key, parse_keys
from cama.core.load import CACHE_TYPES, CacheType, EngineChoice, PrefixFolder
from cama.core.size import parse_size

DEFAULT_PORT = 11434

SECRETS = frozenset({"CAMA_API_KEYS", "CAMA_API_KEY", "CAMA_HF_TOKEN", "HF_TOKEN"})
"""Variables whose values nobody is shown."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server listens, and where clients find it."""

    host: str
    port: int
    scheme: str = "http"

    @property
    def url(self) -> str:
        """Where a client on this machine connects; a wildcard address is reached on loopback."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return replace(self, host=host).literal_url

    @property
    def literal_url(self) -> str:
        """The address as it is, a wildcard too."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Ollama's forms: ``host``, ``:port``, ``host:port``, ``scheme://host[:port]``."""
        scheme, rest = text.split("://", 1) if "://" in text else ("http", text)
        if scheme not in ("http", "https"):
            raise InvalidOption(f"unknown scheme {scheme!r}")
        parts = urlsplit(f"//{rest.rstrip('/')}")
        try:
            port = parts.port
        except ValueError:
            raise InvalidOption("the port must be a number from 0 to 65535") from None
        default = {"http": 80, "https": 443}[scheme] if "://" in text else DEFAULT_PORT
        return cls(parts.hostname or "127.0.0.1", default if port is None else port, scheme)


def _integer(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        raise InvalidOption("must be a whole number") from None
    if value < 0:
        raise InvalidOption("must not be negative")
    return value


def _boolean(text: str) -> bool:
    match text.lower():
        case "1" | "t" | "true" | "yes" | "on":
            return True
        case "0" | "f" | "false" | "no" | "off":
            return False
    raise InvalidOption("must be true or false")


def _engine(text: str) -> EngineChoice:
    if text not in ("auto", "native", "llama"):
        raise InvalidOption("must be auto, native or llama")
    return cast(EngineChoice, text)


def _cache_type(text: str) -> CacheType:
    found = next((kind for kind in CACHE_TYPES if kind == text.lower()), None)
    if found is None:
        raise InvalidOption(f"must be one of {', '.join(CACHE_TYPES)}")
    return found


def _kernels(text: str) -> str:
    """The library of kernels reads the variable itself, in the process that computes."""
    if text not in ("auto", "amx", "avx512", "avxvnni", "avx2", "off"):
        raise InvalidOption("must be auto, amx, avx512, avxvnni, avx2 or off")
    return text


def _seconds(text: str) -> float:
    """A keep-alive: a Go duration, or plain seconds."""
    try:
        return parse_keep_alive(float(text))
    except ValueError:
        return parse_keep_alive(text)


def _path(text: str) -> Path:
    return Path(text).expanduser()


def _paths(text: str) -> tuple[Path, ...]:
    return tuple(_path(part) for part in text.split(os.pathsep) if part)


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidOption("must be an address such as https://huggingface.co")
    return text.rstrip("/")


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _setting(
    variable: str,
    help: str,
    parse: Callable[[str], Any],
    default: Any,
    ollama: str | None = None,
    *,
    others: tuple[str, ...] = (),
) -> Any:
    """A field with its variable (``CAMA_`` is added), its parser and its line of documentation.

    ``others`` are more fallbacks.
    """
    names = (f"CAMA_{variable}", *((f"OLLAMA_{ollama}",) if ollama else ()), *others)
    metadata = {"variables": names, "help": help, "parse": parse}
    shown = names[0] not in SECRETS
    if callable(default):
        return field(default_factory=default, metadata=metadata, repr=shown)
    return field(default=default, metadata=metadata, repr=shown)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of Cama. ``Settings.load()`` reads the environment."""

    host: Address = _setting(
        "HOST", "Address the server listens on and clients connect to.", Address.parse,
        lambda: Address("127.0.0.1", DEFAULT_PORT), "HOST")  # fmt: skip
    models: Path = _setting(
        "MODELS", "Folder of the model store, in Ollama's layout.", _path,
        lambda: Path.home() / ".ollama" / "models", "MODELS")  # fmt: skip
    home: Path = _setting(
        "HOME", "Folder for logs, history and caches.", _path, lambda: Path.home() / ".cama"
    )
    keep_alive: float = _setting(
        "KEEP_ALIVE", "How long a model stays loaded after its last request (negative: forever).",
        _seconds, 300.0, "KEEP_ALIVE")  # fmt: skip
    max_queue: int = _setting(
        "MAX_QUEUE", "Requests that may wait for a model before the server answers 503.",
        _integer, 512, "MAX_QUEUE")  # fmt: skip
    max_loaded_models: int = _setting(
        "MAX_LOADED_MODELS", "Models loaded at the same time (0: automatic).",
        _integer, 0, "MAX_LOADED_MODELS")  # fmt: skip
    num_parallel: int = _setting(
        "NUM_PARALLEL", "Requests that one model answers at the same time (0: automatic).",
        _integer, 0, "NUM_PARALLEL")  # fmt: skip
    context_length: int = _setting(
        "CONTEXT_LENGTH", "Context of one request in tokens (0: automatic).",
        _integer, 0, "CONTEXT_LENGTH")  # fmt: skip
    kv_cache_type: CacheType = _setting(
        "KV_CACHE_TYPE", "Type of the KV cache: f16, q8_0 (half of it), q4_0 (a quarter) or f32.",
        _cache_type, "f16", "KV_CACHE_TYPE")  # fmt: skip
    load_timeout: float = _setting(
        "LOAD_TIMEOUT", "How long a load may stand still before it fails.",
        parse_duration, 300.0, "LOAD_TIMEOUT")  # fmt: skip
    stall_timeout: float = _setting(
        "STALL_TIMEOUT", "How long one step of a model may take before it is loaded anew (0: any).",
        parse_duration, 900.0)  # fmt: skip
    origins: tuple[str, ...] = _setting(
        "ORIGINS", "More browser origins that may call the API, separated by commas.",
        _list, (), "ORIGINS")  # fmt: skip
    engine: EngineChoice = _setting(
        "ENGINE", "Force an engine: auto, native or llama.", _engine, "auto"
    )
    num_threads: int = _setting(
        "NUM_THREADS", "Threads that compute (0: the machine's cores).", _integer, 0
    )
    go_template: bool | None = _setting(
        "GO_TEMPLATE",
        "A Modelfile's template before the GGUF file's own: true or false (unset: who does more).",
        _boolean, None, "GO_TEMPLATE")  # fmt: skip
    kernels: str = _setting(
        "KERNELS",
        "Kernels of Cama that compute: auto, amx, avx512, avxvnni, avx2 or off.",
        _kernels,
        "auto",
    )
    model_path: tuple[Path, ...] = _setting(
        "MODEL_PATH", "Folders searched for GGUF files by name.", _paths, ()
    )
    prefix_cache: int = _setting(
        "PREFIX_CACHE", "Size of the saved prompt prefixes on disk, such as 8GB (0: none).",
        parse_size, 4 << 30)  # fmt: skip
    api_keys: tuple[ApiKey, ...] = _setting(
        "API_KEYS", "Keys that the server asks its clients for, separated by commas.",
        parse_keys, ())  # fmt: skip
    api_key_file: Path | None = _setting(
        "API_KEY_FILE", "File with more such keys, one on each line.", _path, None
    )
    api_key: str = _setting("API_KEY", "Key that this program sends to the server.", check_key, "")
    docker_config: Path = _setting(
        "DOCKER_CONFIG", "Folder of the config.json with logins of registries.", _path,
        lambda: Path.home() / ".docker", others=("DOCKER_CONFIG",))  # fmt: skip
    offline: bool = _setting(
        "OFFLINE", "Send no request to other machines: nothing is pulled or pushed.", _boolean,
        False, others=("HF_HUB_OFFLINE",))  # fmt: skip
    hf_endpoint: str = _setting(
        "HF_ENDPOINT", "Address of the Hugging Face hub (also HF_ENDPOINT).", _url,
        "https://huggingface.co", others=("HF_ENDPOINT",))  # fmt: skip
    hf_token: str = _setting(
        "HF_TOKEN", "Token for that hub (also HF_TOKEN; without one, the login of its own client).",
        str, "", others=("HF_TOKEN",))  # fmt: skip
    hf_cache: Path = _setting(
        "HF_CACHE", "Folder of the hub's own downloads (also HF_HUB_CACHE).", _path,
        lambda: Path(os.environ.get("HF_HOME") or "~/.cache/huggingface").expanduser() / "hub",
        others=("HF_HUB_CACHE",))  # fmt: skip
    no_prune: bool = _setting(
        "NOPRUNE", "Keep files of the store that no model refers to.", _boolean, False, "NOPRUNE"
    )
    debug: bool = _setting("DEBUG", "Log more.", _boolean, False, "DEBUG")

    @property
    def prefix_folder(self) -> PrefixFolder | None:
        """Where runners keep prefixes, if they shall."""
        if not self.prefix_cache:
            return None
        return PrefixFolder(path=self.home / "cache" / "prefix", max_bytes=self.prefix_cache)

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> "Settings":
        """Read the environment. An empty variable counts as unset. Raises InvalidSetting."""
        environ = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        for item in fields(cls):
            name = next((n for n in item.metadata["variables"] if environ.get(n, "").strip()), None)
            if name is None:
                continue
            text = environ[name].strip().strip("\"'")
            try:
                values[item.name] = item.metadata["parse"](text)
            except CamaError as error:
                shown = name if name in SECRETS else f"{name}={text}"
                raise InvalidSetting(f"{shown}: {error.message}", variable=name) from None
        return cls(**values)
