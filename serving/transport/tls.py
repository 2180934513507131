"""TLS on the gRPC port, with certificates that are renewed while the server runs.

gRPC asks before each handshake whether there is anything newer. So a renewal needs no signal and no restart, every worker sees it by
itself, and connections that are open live on with what they began with.
"""

from __future__ import annotations

import grpc
import structlog

from serving.certificates import BadCertificates, Certificates, TlsFiles, checked, read

log = structlog.get_logger()


def server_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """Credentials that follow the files. With a ``client_ca`` a client must show a certificate that leads to it.

    Raises:
        BadCertificates: as they are now they cannot be used.
    """
    following = _Following(files)
    return grpc.dynamic_ssl_server_credentials(
        _configuration(following.used),
        following.newer,  # type: ignore[arg-type]  # None is an answer too
        require_client_authentication=files.client_ca is not None,
    )


class _Following:
    """What the files held when they could last be used."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._trouble: str | None = None
        self.used = checked(files)

    def newer(self) -> grpc.ServerCertificateConfiguration | None:
        """What to use from now on, None for what is used already. Called in threads of gRPC's, one at a time."""
        trouble: str | None = None
        try:
            # Three small files are read sooner than a handshake's first number is worked out, and tell more than their times do.
            if read(self._files) == self.used:
                self._trouble = None
                return None
            self.used = checked(self._files)
        except BadCertificates as error:
            trouble = str(error)
        if trouble and trouble != self._trouble:
            log.error("new TLS files cannot be used, the old ones go on", reason=trouble)
        self._trouble = trouble
        if trouble:
            return None
        log.info("TLS files renewed")
        return _configuration(self.used)


def _configuration(found: Certificates) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(found.key, found.chain)], root_certificates=found.client_ca)
