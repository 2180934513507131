"""Every setting of the server: read once, from ``OOML_*`` variables and the command line, then only passed on."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, Self, TypeVar, get_args
from urllib.parse import parse_qs, urlsplit

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails, to_json
from pydantic_settings import BaseSettings, SettingsConfigDict

from serving.certificates import BadCertificates, TlsFiles, checked

PREFIX = "OOML_"
_DATABASE = re.compile(r"(/\d{0,5})?")
_TLS_OPTIONS = {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname"}
_OF_THE_FEATURE_REPO = {"OOML_DATA_DIR", "OOML_FEAST_REGISTRY", "OOML_FEAST_REDIS"}
_OF_THE_EVENTS = {"OOML_NATS_URL", "OOML_NATS_TIMEOUT_S", "OOML_EVENT_TABLE", "OOML_EVENT_AGAIN_S", "OOML_SINK_LEASE_S"}


class SettingsError(Exception):
    """Settings that cannot be served with; the message lists every mistake, one a line."""


class CommonSettings(BaseSettings):
    """What every process needs to know: where Redis is, how to log. Each field is the variable ``OOML_<FIELD>``; times are in seconds."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", use_attribute_docstrings=True)

    mode: Literal["development", "production"] | None = None
    """Production refuses a Redis that may lose or evict what it acknowledged; development warns. Default: development on loopback."""

    redis_url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    """Where evidence, decisions, policies and online features lie: ``redis://[:password@]host[:port][/db]``, or ``rediss://`` for TLS,
    whose files and checks are given by ``?ssl_ca_certs=``, ``ssl_certfile``, ``ssl_keyfile``, ``ssl_cert_reqs``, ``ssl_check_hostname``."""

    redis_cluster: bool = False
    """Whether that is a node of a Redis Cluster; it has database 0 alone."""

    redis_timeout_s: float = Field(5.0, gt=0, le=60)
    """How long one round trip to Redis may take before its connection is given up; a call with a nearer deadline waits less. A disk that is
    slow to sync takes a second or more: see docs/redis-keys.md."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe log line written."""

    log_format: Literal["auto", "json", "text"] = "auto"
    """``auto``: text on a terminal in development, else one JSON object a line."""

    @field_validator("redis_url")
    @classmethod
    def _redis_url(cls, url: SecretStr) -> SecretStr:
        # All that a driver would else raise in its own words later, or pass over: it takes `/x` for database 0.
        if (what := _wrong_with(url.get_secret_value())) is not None:
            raise ValueError(f"must look like redis://[:password@]host[:port][/db] (or rediss:// for TLS): {what}")
        return url

    @field_validator("redis_cluster")
    @classmethod
    def _redis_cluster(cls, cluster: bool, others: ValidationInfo) -> bool:
        url = others.data.get("redis_url")
        if cluster and url is not None and urlsplit(url.get_secret_value()).path.strip("/0"):
            raise ValueError("a cluster has database 0 alone; leave the number out of OOML_REDIS_URL")
        return cluster

    @property
    def production(self) -> bool:
        """Whether weak guarantees are refused instead of warned of."""
        return self.mode == "production"

    @property
    def redis_address(self) -> str:
        """Host and port of Redis, without credentials: fit for logs."""
        parts = urlsplit(self.redis_url.get_secret_value())
        return address(parts.hostname or "", parts.port or 6379)

    def common(self) -> dict[str, object]:
        """Settings that processes share, for another's."""
        return {name: getattr(self, name) for name in CommonSettings.model_fields}


_S = TypeVar("_S", bound=CommonSettings)


class Settings(CommonSettings):
    """How one server runs."""

    host: str = "127.0.0.1"
    """Address to listen on: an IP address or a name of this machine."""

    port: int = Field(50051, ge=0, le=65_535)
    """gRPC port; 0 picks a free one."""

    workers: int = Field(1, ge=1, le=256)
    """Serving processes; all of them listen on the one port."""

    auth: Literal["auto", "required", "off"] = "auto"
    """Whether calls need a credential: an API key (`ooml keys make`) or a token. ``auto``: on any address but loopback, and wherever
    OOML_JWT_JWKS_FILE is set. Say ``required`` behind a proxy on this machine. Health checks never need one."""

    jwt_issuer: str | None = Field(None, min_length=1)
    """Issuer (``iss``) of the JSON Web Tokens that are good."""

    jwt_audience: str | None = Field(None, min_length=1)
    """Audience (``aud``) they must be for."""

    jwt_jwks_file: Path | None = Field(None, validate_default=True)
    """JWKS file of that issuer's public keys (RS256, ES256 or EdDSA), read again when it changes. None: API keys alone are good."""

    jwt_role_claim: str = Field("role", min_length=1)
    """Claim of a token that holds its role: reader, writer or admin. Its policies are in the claim ``policies``: "*" or a list of names."""

    jwt_rate: float = Field(0.0, ge=0, le=1e6)
    """Requests per second of each token's subject, a second's worth at once at most; 0: no limit."""

    tls_cert_file: Path | None = None
    """PEM file of the server's certificate and those between it and the root. Read anew when it changes. None: calls come in clear."""

    tls_key_file: Path | None = None
    """PEM file of its private key."""

    tls_client_ca_file: Path | None = None
    """PEM file of roots: every client must show a certificate that leads to one of them. None: clients need none."""

    insecure: bool = False
    """Allows calls in clear on an address that others can reach: say so where a proxy or mesh in front of the server speaks TLS for it."""

    reflection: bool | None = None
    """Whether callers can read the contract from the server. Default: in development."""

    event_sink: Literal["none", "drained"] = "none"
    """``none``: nobody reads the events, so only the newest are kept; ``drained``: somebody does, so none of evidence is ever shed."""

    outbox_limit: int | None = Field(None, ge=16, le=1_000_000)
    """Entries kept per shard (of 256), about 2 KB each: newest ones without a sink; with one, how far it may lag before nothing more is
    accepted, decisions being left out of the log from half of that on. Default: 256 without a sink, 65536 with one."""

    idempotency_window_s: float = Field(3600.0, gt=0, le=30 * 86_400)
    """How long the answer to a request_id is kept."""

    feature_repo: Path | None = None
    """Folder of the Feast repository whose registry is watched; None: this host follows plans that another host publishes."""

    seed: int | None = Field(None, ge=0)
    """Makes the workers' random draws repeatable, for tests and demos only; None: from the operating system."""

    max_in_flight: int = Field(256, ge=1)
    """Calls a worker handles at once; more get RESOURCE_EXHAUSTED."""

    default_deadline_s: float = Field(1.0, gt=0, le=60)
    """Deadline of a call whose caller set none."""

    max_connection_age_s: float = Field(300.0, gt=0, le=7 * 86_400)
    """Age at which a connection is asked to reconnect, so that connections spread over workers and replicas."""

    drain_grace_s: float = Field(10.0, ge=0, le=600)
    """How long calls in flight may take to finish once the server is told to stop."""

    drain_notice_s: float = Field(0.3, ge=0, le=60)
    """How long a server that is told to stop goes on to listen, so that callers and load balancers hear of it and go elsewhere."""

    health_interval_s: float = Field(0.5, gt=0, le=60)
    """Seconds from one look at Redis for the health service to the next."""

    health_timeout_s: float = Field(5.0, gt=0, le=60)
    """How long such a look may take before this server says that it does not serve; a Redis that is gone is noticed at once."""

    access_log: Literal["off", "debug", "info"] = "debug"
    """Severity of the one line written per call."""

    metrics_host: str = "127.0.0.1"
    """Address Prometheus scrapes."""

    metrics_port: int = Field(0, ge=0, le=65_535)
    """Port Prometheus scrapes, one for all workers; 0: no metrics are kept."""

    @field_validator("jwt_jwks_file")
    @classmethod
    def _jwt(cls, file: Path | None, others: ValidationInfo) -> Path | None:
        given = [others.data.get("jwt_issuer"), others.data.get("jwt_audience"), file]
        if any(given) and not all(given):
            raise ValueError("goes together with OOML_JWT_ISSUER and OOML_JWT_AUDIENCE: set all three, or none")
        if file is None:
            return None
        from serving.access.tokens import BadJwks, read_jwks  # what it imports takes as long as all of the settings

        try:
            read_jwks(file)
        except BadJwks as bad:
            raise ValueError(str(bad)) from None
        return file.absolute()

    @field_validator("feature_repo")
    @classmethod
    def _feature_repo(cls, folder: Path | None) -> Path | None:
        if folder is not None and not (folder / "feature_store.yaml").is_file():
            raise ValueError("must be a folder that holds a feature_store.yaml")
        return folder and folder.absolute()

    @property
    def production(self) -> bool:
        """Whether weak guarantees are refused instead of warned of."""
        return self.mode == "production" if self.mode else not is_loopback(self.host)

    @property
    def outbox_entries(self) -> int:
        """The limit, given or not. A policy whose scope is global fills one shard alone, and a sink that restarts takes its time."""
        return self.outbox_limit or (256 if self.event_sink == "none" else 65_536)

    @property
    def shows_contract(self) -> bool:
        """Whether reflection is on."""
        return not self.production if self.reflection is None else self.reflection

    @property
    def tls(self) -> TlsFiles | None:
        """The files to speak TLS with, None to listen in clear."""
        if self.tls_cert_file is None or self.tls_key_file is None:
            return None
        return TlsFiles(self.tls_cert_file, self.tls_key_file, self.tls_client_ca_file)

    @property
    def asks_for_credentials(self) -> bool:
        """Whether calls need a credential."""
        if self.auth == "auto":
            return not is_loopback(self.host) or self.jwt_jwks_file is not None
        return self.auth == "required"

    def in_clear(self) -> str:
        """All settings as JSON, secrets included: for the pipe to a child process, never for a log."""
        plain = {name: value.get_secret_value() if isinstance(value, SecretStr) else value for name, value in self}
        return to_json(plain).decode()

    @classmethod
    def from_clear(cls, said: str) -> Self:
        """What `in_clear` wrote."""
        return cls.model_validate_json(said)


def load(**overrides: object) -> Settings:
    """Settings from the environment, put over by what the command line gave (None: not given).

    Raises:
        SettingsError.
    """
    return load_as(Settings, overrides)


def load_as(kind: type[_S], overrides: Mapping[str, object]) -> _S:
    """The same for another process' settings.

    Raises:
        SettingsError.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return kind(**given)  # type: ignore[arg-type]  # pydantic checks them
    except ValidationError as error:
        raise SettingsError("\n".join(_plain(kind, e) for e in error.errors())) from None


def check_door(settings: Settings) -> None:
    """Return when a server may listen as it is told to: encrypted, or where only this machine reaches it, or in clear on purpose.

    Raises:
        SettingsError.
    """
    if settings.tls is not None:
        try:
            checked(settings.tls)
        except BadCertificates as bad:
            raise SettingsError(f"OOML_TLS_*_FILE: {bad}") from None
    elif settings.tls_cert_file or settings.tls_key_file or settings.tls_client_ca_file:
        raise SettingsError(
            "OOML_TLS_CERT_FILE and OOML_TLS_KEY_FILE go together, and OOML_TLS_CLIENT_CA_FILE goes with both: set what is missing"
        )
    elif not is_loopback(settings.host) and not settings.insecure:
        raise SettingsError(
            f"OOML_HOST: {settings.host} can be reached from elsewhere, and calls would come in clear. Set OOML_TLS_CERT_FILE and "
            "OOML_TLS_KEY_FILE; or OOML_INSECURE=true (--insecure) where a proxy or mesh in front of the server speaks TLS for it"
        )


def unknown_variables() -> Iterator[str]:
    """Variables of the environment that look like settings and are none: probably misspelt."""
    known = {PREFIX + name.upper() for name in Settings.model_fields} | _OF_THE_FEATURE_REPO | _OF_THE_EVENTS
    return (name for name in sorted(os.environ) if name.startswith(PREFIX) and name not in known)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def address(host: str, port: int) -> str:
    """``host:port`` as gRPC and URLs write it, brackets around IPv6."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _wrong_with(url: str) -> str | None:
    """What keeps a URL from naming a Redis, None when nothing does. Says nothing of its password."""
    try:
        parts = urlsplit(url)
        port, options = parts.port, parse_qs(parts.query, strict_parsing=bool(parts.query), keep_blank_values=True)
    except ValueError:
        return "it is cut off, or its port is no number up to 65535"
    if parts.scheme not in ("redis", "rediss"):
        return "it begins otherwise"
    if not parts.hostname or port == 0:
        return "it names no host and port"
    if not _DATABASE.fullmatch(parts.path) or parts.fragment:
        return "after the host and port comes a database's number, or nothing"
    if options and (parts.scheme == "redis" or not options.keys() <= _TLS_OPTIONS):
        return f"it may have the options {', '.join(sorted(_TLS_OPTIONS))}, if it is a rediss://, and no others"
    if options.get("ssl_cert_reqs", ["none"])[0] not in ("none", "optional", "required"):
        return "ssl_cert_reqs is none, optional or required"
    return None


def _plain(kind: type[BaseSettings], error: ErrorDetails) -> str:
    """One mistake in words for whoever runs the server; a secret's value stays out of it."""
    name = str(error["loc"][0])
    text = (
        error["msg"]
        .removeprefix("Value error, ")
        .replace("Input should be", "must be")
        .replace("Extra inputs are not permitted", "no such setting")
        .split(", unable to parse")[0]
    )
    field = kind.model_fields.get(name)
    secret = field is None or field.annotation is SecretStr or SecretStr in get_args(field.annotation)
    return f"{PREFIX}{name.upper()}: {text}" + ("" if secret else f"; got {error['input']!r}")
