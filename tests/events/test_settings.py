from __future__ import annotations

import pytest

from events.settings import EventSettings, load
from serving.settings import SettingsError


@pytest.fixture(autouse=True)
def _no_settings_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in EventSettings.model_fields:
        monkeypatch.delenv(f"OOML_{name.upper()}", raising=False)


def test_redis_is_set_as_for_the_server_and_there_is_no_broker_unless_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OOML_REDIS_URL", "redis://redis:7/1")
    settings = load()
    assert settings.redis_address == "redis:7"
    assert (settings.nats_url, settings.nats_servers, settings.nats_address) == (None, [], "")


def test_a_cluster_of_brokers_is_several_urls_and_its_passwords_stay_out_of_every_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OOML_NATS_URL", "nats://me:hunter2@a,tls://b:7")  # pragma: allowlist secret
    settings = load(event_table="s3://bucket/events")
    assert settings.nats_servers == ["nats://me:hunter2@a", "tls://b:7"]  # pragma: allowlist secret
    assert settings.nats_address == "a:4222,b:7"
    assert "hunter2" not in f"{settings} {settings!r} {settings.model_dump_json()}"


@pytest.mark.parametrize("url", ["", "redis://h", "nats://", "nats://h:0", "nats://h:notaport", "nats://h/x", "nats://h,", "hunter2@h"])
def test_a_url_no_broker_could_be_reached_at_is_told_in_words(url: str) -> None:
    with pytest.raises(SettingsError) as error:
        load(nats_url=url)
    assert str(error.value) == "OOML_NATS_URL: must look like nats://[user:password@]host[:port] (or tls://), several with commas between"
