"""Settings: what is accepted, and that anything else is refused by name and without its value."""

import jwt
import pytest

from greenlight import settings

GOOD = {"SUPABASE_URL": "https://abc.supabase.co", "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_abc"}
KEY = "a key of more than thirty-two bytes, for signing"


def load(monkeypatch: pytest.MonkeyPatch, **variables: str) -> settings.Settings:
    for name in settings.Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in {**GOOD, **variables}.items():
        monkeypatch.setenv(name, value)
    return settings.load()


def legacy_key(role: str | None) -> str:
    return jwt.encode({"iss": "supabase", "ref": "abc", "role": role}, KEY, "HS256")


def test_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load(monkeypatch)

    assert loaded.issuer == "https://abc.supabase.co/auth/v1"
    assert (loaded.port, loaded.metrics, loaded.cors_origins) == (8000, False, ())
    assert loaded.max_body_bytes == 6 * 1_048_576 + 65_536


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SUPABASE_URL", "http://127.0.0.1:54321/"),
        ("SUPABASE_PUBLISHABLE_KEY", legacy_key("anon")),
        ("SUPABASE_JWT_SECRET", ""),  # as good as not there
        ("CORS_ORIGINS", "https://a.example.com, http://localhost:3000"),
        ("ALLOWED_HOSTS", "greenlight, Backend.internal, [::1], 10.0.0.1"),
        ("LOG_LEVEL", "INFO"),
        ("MAX_DOCUMENT_BYTES", "1"),
        ("UI_URL", "https://example.com/greenlight/"),
        ("SERVICE_URL", "https://example.com/api"),
    ],
)
def test_accepted(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    assert load(monkeypatch, **{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SUPABASE_URL", ""),
        ("SUPABASE_URL", "abc.supabase.co"),
        ("SUPABASE_URL", "ftp://abc.supabase.co"),
        ("SUPABASE_URL", "https://"),
        ("SUPABASE_URL", "https://abc.supabase.co/rest/v1"),
        ("SUPABASE_URL", "https://abc.supabase.co?x=1"),
        ("SUPABASE_URL", "https://user:secret@abc.supabase.co"),
        ("SUPABASE_URL", "https://abc.supabase.co:port"),
        ("SUPABASE_PUBLISHABLE_KEY", ""),
        ("SUPABASE_PUBLISHABLE_KEY", "sb_secret_zebra"),
        ("SUPABASE_PUBLISHABLE_KEY", legacy_key("service_role")),
        ("SUPABASE_PUBLISHABLE_KEY", legacy_key("authenticated")),
        ("SUPABASE_PUBLISHABLE_KEY", legacy_key(None)),
        ("SUPABASE_PUBLISHABLE_KEY", "zebra.zebra.zebra"),
        ("SUPABASE_PUBLISHABLE_KEY", "zebra\r\nX: y"),
        ("SUPABASE_JWT_SECRET", "zebra"),
        ("PORT", "zebra"),
        ("PORT", "70000"),
        ("MAX_DOCUMENT_BYTES", "1048577"),
        ("MAX_DOCUMENT_BYTES", "0"),
        ("UPSTREAM_TIMEOUT_SECONDS", "0"),
        ("UPSTREAM_TIMEOUT_SECONDS", "inf"),
        ("UPSTREAM_TIMEOUT_SECONDS", "nan"),
        ("UI_URL", "app.example.com"),
        ("SERVICE_URL", "https://api.example.com?x=1"),
        ("CORS_ORIGINS", "*"),
        ("CORS_ORIGINS", "https://a.example.com/path"),
        ("ALLOWED_HOSTS", "*"),
        ("ALLOWED_HOSTS", "greenlight:8000"),
        ("ALLOWED_HOSTS", "https://greenlight"),
        ("ALLOWED_HOSTS", "a/b"),
        ("ALLOWED_HOSTS", "a b"),
        ("LOG_LEVEL", "zebra"),
    ],
)
def test_refused_by_name_and_without_the_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    with pytest.raises(settings.SettingsError) as refused:
        load(monkeypatch, **{name: value})

    (line,) = str(refused.value).splitlines()
    assert line.startswith(f"{name}: ") if value else line == f"{name} is not set"
    assert "zebra" not in line
    assert "eyJ" not in line


def test_the_secret_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    assert KEY not in repr(load(monkeypatch, SUPABASE_JWT_SECRET=KEY))
