from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from serving.child import Orders
from serving.settings import Settings, SettingsError, load, unknown_variables
from tests.access.build import signer, write_jwks


@pytest.fixture(autouse=True)
def _no_settings_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in unknown_variables():
        monkeypatch.delenv(name)
    for name in Settings.model_fields:
        monkeypatch.delenv(f"OOML_{name.upper()}", raising=False)


def test_the_command_line_goes_over_the_environment_and_what_it_leaves_out_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OOML_PORT", "1")
    monkeypatch.setenv("OOML_WORKERS", "2")
    settings = load(port=3, workers=None)
    assert (settings.port, settings.workers) == (3, 2)


def test_every_mistake_is_listed_at_once_in_plain_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OOML_PORT", "many")
    monkeypatch.setenv("OOML_WORKERS", "0")
    monkeypatch.setenv("OOML_MODE", "prod")
    with pytest.raises(SettingsError) as error:
        load()
    assert str(error.value).splitlines() == [
        "OOML_MODE: must be 'development' or 'production'; got 'prod'",
        "OOML_PORT: must be a valid integer; got 'many'",
        "OOML_WORKERS: must be greater than or equal to 1; got '0'",
    ]


def test_a_secret_is_in_no_message_and_in_no_text_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OOML_REDIS_URL", "http://:hunter2@redis:1")
    with pytest.raises(SettingsError, match="OOML_REDIS_URL: must look like redis://") as error:
        load()
    assert "hunter2" not in str(error.value)
    settings = load(redis_url="redis://:hunter2@redis:1/0")
    assert "hunter2" not in f"{settings} {settings!r} {settings.model_dump_json()} {settings.redis_address}"
    assert settings.redis_address == "redis:1"


@pytest.mark.parametrize("name", [name for name, field in Settings.model_fields.items() if field.annotation is float])
@pytest.mark.parametrize("value", ["inf", "nan", "1e300", "-1"])
def test_no_time_is_endless_or_none(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"OOML_{name.upper()}", value)
    with pytest.raises(SettingsError, match=f"OOML_{name.upper()}: must be"):
        load()


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis://h:notaport", "it is cut off, or its port is no number up to 65535"),
        ("redis://h:70000", "it is cut off, or its port is no number up to 65535"),
        ("redis://[::1", "it is cut off, or its port is no number up to 65535"),
        ("h:6379", "it begins otherwise"),
        ("redis://", "it names no host and port"),
        ("redis://h:0", "it names no host and port"),
        ("redis://h/x", "after the host and port comes a database's number, or nothing"),
        ("redis://h/1/2", "after the host and port comes a database's number, or nothing"),
        ("redis://h#1", "after the host and port comes a database's number, or nothing"),
        ("redis://h?db=3", "it may have the options ssl_"),
        ("rediss://h?socket_timeout=9", "it may have the options ssl_"),
        ("rediss://h?ssl_cert_reqs=maybe", "ssl_cert_reqs is none, optional or required"),
    ],
)
def test_a_url_no_redis_could_be_reached_at_is_told_in_words(url: str, why: str) -> None:
    with pytest.raises(SettingsError) as error:
        load(redis_url=url)
    assert str(error.value).startswith("OOML_REDIS_URL: must look like redis://[:password@]host[:port][/db] (or rediss:// for TLS): ")
    assert why in str(error.value)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://h", "h:6379"),
        ("redis://:p%40ss@h:1/15", "h:1"),
        ("redis://[::1]:7/", "[::1]:7"),
        ("rediss://user:p@h:1/0?ssl_cert_reqs=none&ssl_ca_certs=/ca.pem", "h:1"),
    ],
)
def test_a_url_may_have_all_that_redis_needs(url: str, address: str) -> None:
    assert load(redis_url=url).redis_address == address


def test_a_cluster_has_one_database() -> None:
    assert load(redis_url="redis://h/0", redis_cluster=True).redis_cluster
    with pytest.raises(SettingsError, match="OOML_REDIS_CLUSTER: a cluster has database 0 alone"):
        load(redis_url="redis://h/1", redis_cluster=True)


def test_a_child_process_gets_exactly_the_settings_of_its_parent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "feature_store.yaml").touch()
    settings = load(redis_url="redis://:hunter2@redis:1/0", feature_repo=tmp_path, seed=2**64, mode="production")
    monkeypatch.setenv("OOML_PORT", "1")
    monkeypatch.setenv("OOML_MODE", "development")
    assert Settings.from_clear(settings.in_clear()) == settings
    orders = Orders(settings, "127.0.0.1:1", slot=2, stream=5)
    assert Orders.from_line(orders.to_line()) == orders
    assert b"\n" not in orders.to_line()


@pytest.mark.parametrize(
    ("host", "mode", "production"),
    [
        ("127.0.0.1", None, False),
        ("127.0.0.2", None, False),
        ("::1", None, False),
        ("localhost", None, False),
        ("0.0.0.0", None, True),  # noqa: S104
        ("::", None, True),
        ("10.0.0.1", None, True),
        ("ooml.example", None, True),
        ("0.0.0.0", "development", False),  # noqa: S104
        ("127.0.0.1", "production", True),
    ],
)
def test_whoever_is_reachable_from_elsewhere_is_in_production_unless_told(host: str, mode: str | None, production: bool) -> None:
    assert load(host=host, mode=mode).production is production


@pytest.mark.parametrize(
    ("host", "auth", "asked"),
    [
        ("127.0.0.1", "auto", False),
        ("::1", "auto", False),
        ("0.0.0.0", "auto", True),  # noqa: S104
        ("ooml.example", "auto", True),
        ("127.0.0.1", "required", True),
        ("0.0.0.0", "off", False),  # noqa: S104
    ],
)
def test_whoever_is_reachable_from_elsewhere_asks_for_credentials_unless_told(host: str, auth: str, asked: bool) -> None:
    assert load(host=host, auth=auth).asks_for_credentials is asked


def test_tokens_are_set_up_entirely_or_not_at_all(tmp_path: Path) -> None:
    jwks = write_jwks(tmp_path / "jwks.json", signer("ES256"))
    given = {"jwt_issuer": "i", "jwt_audience": "a", "jwt_jwks_file": jwks}
    settings = load(**given)
    assert settings.asks_for_credentials
    assert Settings.from_clear(settings.in_clear()) == settings
    assert not load(**given, auth="off").asks_for_credentials
    for left_out in given:
        with pytest.raises(SettingsError, match="OOML_JWT_JWKS_FILE: goes together with OOML_JWT_ISSUER and OOML_JWT_AUDIENCE"):
            load(**{name: value for name, value in given.items() if name != left_out})
    jwks.write_text("hunter2")
    with pytest.raises(SettingsError, match=r"OOML_JWT_JWKS_FILE: .*must look like") as refused:
        load(**given)
    assert "hunter2" not in str(refused.value)


def test_an_outbox_that_is_drained_may_lag_further_than_one_that_nobody_reads() -> None:
    assert [load(event_sink=sink).outbox_entries for sink in ("none", "drained")] == [256, 65_536]
    assert [load(event_sink=sink, outbox_limit=99).outbox_entries for sink in ("none", "drained")] == [99, 99]


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        load().port = 1


def test_a_misspelt_variable_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OOML_WORKRES", "4")
    monkeypatch.setenv("OOML_PORT", "4")
    assert list(unknown_variables()) == ["OOML_WORKRES"]


def test_every_setting_says_what_it_is() -> None:
    assert [name for name, f in Settings.model_fields.items() if not f.description] == []
