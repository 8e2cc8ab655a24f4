"""The catalog: the built-in providers and those of the operator's own folder, by id."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from domain.oauth.token import TokenEndpoint
from providers.loading import ProviderFileError, load_provider
from providers.model import Provider
from providers.wire import check_url

BUILT_IN = Path(__file__).parent / "catalog"


@dataclass(frozen=True, slots=True)
class Catalog(Mapping[str, Provider]):
    """Every known provider, in the order of their ids."""

    providers: Mapping[str, Provider]

    def __getitem__(self, provider_id: str) -> Provider:
        return self.providers[provider_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self.providers)

    def __len__(self) -> int:
        return len(self.providers)


def load_catalog(
    extra_dir: Path | None = None,
    *,
    allow_loopback_http: bool = False,
    origins: Mapping[str, str] | None = None,
) -> Catalog:
    """The built-in providers, joined by every `*.toml` of `extra_dir`.

    `origins` swaps the origin of every address of a provider, by id: development alone may pass it. Raises
    ProviderFileError for a faulty file or folder, an id given twice, and an origin that cannot be.
    """
    read, faults = read_files(extra_dir, allow_loopback_http=allow_loopback_http)
    if faults:
        raise faults[0]
    found = {provider.id: provider for provider in read.values()}
    for provider_id, origin in (origins or {}).items():
        _check_origin(found, provider_id, origin, allow_loopback_http=allow_loopback_http)
        found[provider_id] = with_origin(found[provider_id], origin)
    return Catalog(dict(sorted(found.items())))


def read_files(
    extra_dir: Path | None = None, *, allow_loopback_http: bool = False
) -> tuple[dict[Path, Provider], list[ProviderFileError]]:
    """Each right file with its provider, and what is wrong with the others: no faulty file hides another."""
    read: dict[Path, Provider] = {}
    faults: list[ProviderFileError] = []
    paths, ids = _files(BUILT_IN), set()
    try:
        paths += _files(extra_dir) if extra_dir else []
    except ProviderFileError as fault:
        faults.append(fault)
    for path in paths:
        try:
            provider = load_provider(path, allow_loopback_http=allow_loopback_http)
        except ProviderFileError as fault:
            faults.append(fault)
            continue
        if provider.id in ids:
            faults.append(ProviderFileError(path, "id", f"{provider.id!r} is already in the catalog; choose another"))
            continue
        ids.add(provider.id)
        read[path] = provider
    return read, faults


def with_origin(provider: Provider, origin: str) -> Provider:
    """`provider` with every address, the issuer included, moved to `origin`; paths and queries stay."""

    def moved(url: str) -> str:
        target = urlsplit(origin)
        return urlsplit(url)._replace(scheme=target.scheme, netloc=target.netloc).geturl()

    def endpoint(value: TokenEndpoint) -> TokenEndpoint:
        return replace(value, url=moved(value.url))

    identity, sites, revocation = provider.identity, provider.sites, provider.revocation
    return replace(
        provider,
        authorization_url=moved(provider.authorization_url),
        token=endpoint(provider.token),
        refresh_url=provider.refresh_url and moved(provider.refresh_url),
        issuer=provider.issuer and moved(provider.issuer),
        identity=identity and replace(identity, url=moved(identity.url)),
        sites=sites and replace(sites, url=moved(sites.url)),
        revocation=revocation and replace(revocation, endpoint=endpoint(revocation.endpoint)),
    )


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise ProviderFileError(folder, "", "is not a folder; name one that exists, or none")
    return sorted(folder.glob("*.toml"))


def _check_origin(found: Mapping[str, Provider], provider_id: str, origin: str, *, allow_loopback_http: bool) -> None:
    if provider_id not in found:
        raise ProviderFileError("provider origins", provider_id, "is not in the catalog")
    try:
        check_url(origin, allow_loopback_http=allow_loopback_http)
    except ValueError as error:
        raise ProviderFileError("provider origins", provider_id, str(error)) from None
    if urlsplit(origin).path not in ("", "/") or urlsplit(origin).query:
        raise ProviderFileError("provider origins", provider_id, "must be scheme, host and port only")
