"""Settings of those who move events: the relay, the sink, the audit. Where Redis is and how to log they share with the server."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from serving.settings import CommonSettings, address, load_as

USUAL_NATS_PORT = 4222


class EventSettings(CommonSettings):
    """How events are moved from the outbox to the table."""

    nats_url: SecretStr | None = None
    """NATS server with JetStream: ``nats://[user:password@]host[:port]``, or ``tls://``; of a cluster several, with commas between. None:
    there is no broker, and the sink reads the outbox itself."""

    nats_timeout_s: float = Field(5.0, gt=0, le=60)
    """How long NATS may take to answer. It answers once what it was given is on disk."""

    event_table: str = "data/events"
    """Delta table of the events: a folder, or the URL of one in an object store (``s3://``, ``gs://``, ``az://``)."""

    event_again_s: float = Field(60.0, ge=0.5, le=3600)
    """After how long what was taken to be kept, and is not yet, is sent again: a relay or a sink died with it, or the broker forgot it."""

    sink_lease_s: float = Field(15.0, ge=1, le=300)
    """After how long without a sign of life a sink is taken to be dead, and another takes over."""

    @field_validator("nats_url")
    @classmethod
    def _nats_url(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not all(_names_nats(one) for one in url.get_secret_value().split(",")):
            raise ValueError("must look like nats://[user:password@]host[:port] (or tls://), several with commas between")
        return url

    @property
    def nats_servers(self) -> list[str]:
        """URLs to connect to, credentials included; none without a broker."""
        return self.nats_url.get_secret_value().split(",") if self.nats_url else []

    @property
    def nats_address(self) -> str:
        """Host and port of each NATS server, without credentials: fit for logs."""
        parts = (urlsplit(url) for url in self.nats_servers)
        return ",".join(address(part.hostname or "", part.port or USUAL_NATS_PORT) for part in parts)


def load(**overrides: object) -> EventSettings:
    """Settings from the environment, put over by what the command line gave (None: not given).

    Raises:
        SettingsError.
    """
    return load_as(EventSettings, overrides)


def _names_nats(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    return parts.scheme in ("nats", "tls") and bool(parts.hostname) and port != 0 and not (parts.path or parts.query or parts.fragment)
