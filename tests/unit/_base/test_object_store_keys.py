"""Keys for object stores that come from secrets; their use is in tests/contracts/test_object_stores.py."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

import tenuto
from tenuto._base import object_store
from tenuto._base.masking import mask


@pytest.fixture(scope="module")
def service_account() -> dict[str, str]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "type": "service_account",
        "client_email": "flows@example.iam.gserviceaccount.com",
        "private_key_id": "canary-id",
        "private_key": pem.decode(),
        "token_uri": "https://oauth2.googleapis.com/token",
    }


@pytest.mark.parametrize("form", [dict, json.dumps])
@pytest.mark.parametrize(
    "make", [lambda: object_store._make_gcs("bucket"), lambda: object_store._make_url("gs://bucket", {})]
)
def test_key_of_a_service_account_comes_from_the_secret(
    make: Any, form: Any, service_account: dict[str, str]
) -> None:
    # R-SEC-7
    with tenuto.context(secrets={"GCP_CREDENTIALS": form(service_account)}):
        store = make()
    assert json.loads(store.config["service_account_key"]) == service_account
    assert "canary" not in mask("key canary-id was refused")


def test_secret_that_is_no_object_is_named(service_account: dict[str, str]) -> None:
    # R-SEC-7
    with tenuto.context(secrets={"GCP_CREDENTIALS": "no json"}):
        with pytest.raises(ValueError, match=r"^The secret GCP_CREDENTIALS is no JSON object\.$"):
            object_store._make_gcs("bucket")
