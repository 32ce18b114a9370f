"""The Hugging Face hub: what a repository has, and where its files are.

Its own client is imported here alone, and only when it is used: that takes a second.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cama import __version__
from cama.core.errors import (
    InvalidModelName,
    ModelNotFound,
    Offline,
    RegistryDenied,
    RegistryError,
    RegistryUnreachable,
)
from cama.store.digests import find_digest
from cama.store.variants import RepoFile

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_TIMEOUT_SECONDS = 30.0
_SHOWN_LENGTH = 200


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository at one commit. ``n_parameters`` is 0 where the hub does not know it."""

    name: str
    commit: str
    files: tuple[RepoFile, ...]
    n_parameters: int = 0

    def file(self, path: str) -> RepoFile | None:
        return next((file for file in self.files if file.path == path), None)


class Hub:
    """The hub at ``endpoint``; without a ``token`` that of its own client's login is used.

    Methods raise ModelNotFound, RegistryError.
    """

    def __init__(self, endpoint: str, token: str = "") -> None:
        self.endpoint = endpoint
        self._token = token or None

    def repository(self, name: str) -> Repository:
        """The files of ``user/repo``, with sizes and digests."""
        with self._asking(name):
            info = self._api.model_info(name, files_metadata=True, timeout=_TIMEOUT_SECONDS)
        if not info.sha:
            raise RegistryError(f"{self.endpoint} does not say which commit of {name} it has")
        files = tuple(_file(s) for s in info.siblings or () if _is_clean(s.rfilename))
        return Repository(name, info.sha, files, _parameters(getattr(info, "gguf", None)))

    def url(self, repository: Repository, file: RepoFile) -> str:
        """Where the content of a file is asked for, which leads elsewhere."""
        from huggingface_hub import hf_hub_url

        return hf_hub_url(
            repository.name, file.path, revision=repository.commit, endpoint=self.endpoint
        )

    def headers(self) -> Mapping[str, str]:
        """What proves to the hub, and to nobody else, who asks."""
        from huggingface_hub import get_token

        token = self._token or get_token()
        return {"Authorization": f"Bearer {token}"} if token else {}

    def digest(self, repository: Repository, file: RepoFile) -> str:
        """The digest of a file that the list of files tells none of.

        Raises RegistryError when the hub has none either.
        """
        from huggingface_hub import get_hf_file_metadata

        with self._asking(repository.name):
            found = get_hf_file_metadata(
                self.url(repository, file),
                token=self._token,
                timeout=_TIMEOUT_SECONDS,
                endpoint=self.endpoint,
            )
        digest = find_digest(f"sha256:{found.etag}")
        if digest is None or found.size != file.size:
            raise RegistryError(f"{self.endpoint} does not say what {file.path} must contain")
        return digest

    @property
    def _api(self) -> "HfApi":
        from huggingface_hub import HfApi

        return HfApi(
            endpoint=self.endpoint,
            token=self._token,
            library_name="cama",
            library_version=__version__,
        )

    @contextmanager
    def _asking(self, name: str) -> Iterator[None]:
        """Turn the client's errors into ours."""
        from huggingface_hub import errors

        try:
            yield
        except errors.HFValidationError:
            raise InvalidModelName(f"invalid repository name: {name}", name=name) from None
        except errors.OfflineModeIsEnabled as error:
            raise Offline(f"the hub's client is offline: {error}") from error
        except errors.GatedRepoError as error:
            raise RegistryDenied(
                f"{name} is for those who accepted its terms: do so at {self.endpoint}/{name}, and "
                "set HF_TOKEN to a token of yours",
                status=error.response.status_code,
            ) from error
        except (errors.RepositoryNotFoundError, errors.EntryNotFoundError) as error:
            raise ModelNotFound(
                f"{self.endpoint} has no {name}, or shows it only with a token in HF_TOKEN",
                name=name,
            ) from error
        except errors.HfHubHTTPError as error:
            raise _refusal(error) from error
        except errors.HTTPError as error:  # type: ignore[attr-defined] # of its HTTP library
            reason = " ".join(str(error).split())[:_SHOWN_LENGTH] or type(error).__name__
            raise RegistryUnreachable(f"{self.endpoint}: {reason}") from error


def _refusal(error: Any) -> RegistryError:
    status = error.response.status_code
    text = error.server_message or error.response.reason_phrase
    kind = RegistryDenied if status in (401, 403) else RegistryError
    return kind(f"{status}: {' '.join(str(text).split())[:_SHOWN_LENGTH]}", status=status)


def _file(sibling: Any) -> RepoFile:
    """An entry of the list, which may hold anything."""
    digest = find_digest(f"sha256:{sibling.lfs.sha256}") if sibling.lfs else None
    size = sibling.size if isinstance(sibling.size, int) else 0
    return RepoFile(sibling.rfilename, size, digest or "")


def _is_clean(path: object) -> bool:
    """Whether ``path`` stays in the folder that it is put in."""
    if not isinstance(path, str) or not path.isprintable() or path.startswith("/"):
        return False
    return not {"", ".", ".."} & set(path.split("/"))


def _parameters(gguf: object) -> int:
    total = gguf.get("total") if isinstance(gguf, Mapping) else None
    return total if isinstance(total, int) and total > 0 else 0
