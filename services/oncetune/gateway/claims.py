"""Who calls: the user's claims as the gateway signed them (GATEWAY_CONTRACT, section 1)."""

import base64
import binascii
import hashlib
import hmac
import time
from dataclasses import dataclass

from pydantic import JsonValue
from starlette.datastructures import Headers

from oncetune.contracts.strict_json import UnreadableJson, parse
from oncetune.gateway.errors import Refusal
from oncetune.gateway.settings import GatewaySettings

MAX_CLAIMS_BYTES = 8192


@dataclass(frozen=True)
class Caller:
    """The user behind a request; `admin` may trigger and cancel."""

    user_id: str
    admin: bool


def sign(claims: bytes, secret: str) -> str:
    """Hex HMAC-SHA256 of the exact bytes of the user header."""
    return hmac.new(secret.encode(), claims, hashlib.sha256).hexdigest()


def read_caller(headers: Headers, settings: GatewaySettings) -> Caller:
    """Verify the two headers and return who calls; raises Refusal 401. Header names match in any letter case."""
    claims = headers.getlist(f"{settings.header_prefix}-User")
    signature = headers.getlist(f"{settings.header_prefix}-Signature")
    if not claims or not signature:
        raise Refusal(401, "missing_authentication", "Missing authentication headers")
    if len(claims) != 1 or len(signature) != 1:
        raise Refusal(401, "bad_authentication", "An authentication header stands twice")
    signed = claims[0].encode("latin-1")
    given = signature[0].encode("latin-1")
    secrets = [settings.shared_secret, settings.shared_secret_previous]
    expected = [sign(signed, secret.get_secret_value()).encode() for secret in secrets if secret]
    matches = [hmac.compare_digest(given, right) for right in expected]  # each one is compared: no early exit to time
    if not any(matches):
        raise Refusal(401, "bad_signature", "The signature does not fit the user header")
    return _caller(_members(signed), settings)


def _members(signed: bytes) -> dict[str, JsonValue]:
    if len(signed) > MAX_CLAIMS_BYTES:
        raise Refusal(401, "malformed_claims", f"The user header is longer than {MAX_CLAIMS_BYTES} bytes")
    try:
        raw = signed
        if not raw.lstrip().startswith(b"{"):
            raw = base64.b64decode(raw + b"=" * (-len(raw) % 4), altchars=b"-_", validate=True)
        claims = parse(raw)
    except (UnreadableJson, binascii.Error, ValueError) as error:
        raise Refusal(401, "malformed_claims", "The user header is neither JSON nor base64url of JSON") from error
    if not isinstance(claims, dict):
        raise Refusal(401, "malformed_claims", "The user header is not a JSON object")
    return claims


def _seconds(claims: dict[str, JsonValue], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refusal(401, "malformed_claims", f"The claim {name} is not a number of Unix seconds")
    return float(value)


def _caller(claims: dict[str, JsonValue], settings: GatewaySettings) -> Caller:
    user_id = next((claims[name] for name in ("user_id", "sub", "uid") if claims.get(name) not in (None, "")), None)
    if not isinstance(user_id, str) or not user_id.strip() or len(user_id) > 200:
        raise Refusal(401, "malformed_claims", "The claims name no user: user_id, sub or uid, up to 200 characters")
    expires, issued = _seconds(claims, "exp"), _seconds(claims, "iat")
    if expires is not None and expires <= time.time():
        raise Refusal(401, "expired_claims", "The claims have expired")
    age = settings.max_claim_age_seconds
    if age is not None and issued is not None and abs(time.time() - issued) > age:  # milliseconds would never age
        raise Refusal(401, "expired_claims", f"The claims are from more than {age} seconds ago, or ahead")
    return Caller(user_id, claims.get("admin") is True)
