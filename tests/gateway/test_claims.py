"""The claims of a caller: which headers the gateway may send, and that everything else is 401 and nothing worse."""

import base64
import json
import time

import pytest
from pydantic import SecretStr
from starlette.datastructures import Headers

from oncetune.gateway.claims import Caller, read_caller, sign
from oncetune.gateway.errors import Refusal
from oncetune.gateway.settings import GatewaySettings

SECRET = "a-secret-of-the-tests-only"
ANN = Caller("ann", admin=False)


def _settings(**fields):
    return GatewaySettings(shared_secret=SecretStr(SECRET), **fields)


def _headers(claims: bytes, *, secret=SECRET, signature=None, prefix="X-Novalto"):
    signature = sign(claims, secret).encode() if signature is None else signature
    raw = [(f"{prefix}-User".lower().encode(), claims), (f"{prefix}-Signature".lower().encode(), signature)]
    return Headers(raw=raw)


def _json(**claims) -> bytes:
    return json.dumps(claims).encode()


def _refused(headers, settings=None) -> Refusal:
    with pytest.raises(Refusal) as refusal:
        read_caller(headers, settings or _settings())
    assert refusal.value.status == 401
    assert set(refusal.value.body) == {"detail", "code"}
    return refusal.value


@pytest.mark.parametrize("spell", [str, str.lower, str.upper, str.swapcase])
def test_header_names_match_in_any_letter_case(spell):
    claims = _json(user_id="ann")
    headers = Headers({spell("X-Novalto-User"): claims.decode(), spell("X-Novalto-Signature"): sign(claims, SECRET)})
    assert read_caller(headers, _settings()) == ANN


def test_the_prefix_of_the_headers_is_a_setting():
    headers = _headers(_json(user_id="ann"), prefix="X-Acme")
    assert read_caller(headers, _settings(header_prefix="X-Acme")) == ANN
    assert _refused(headers).body["detail"] == "Missing authentication headers"


@pytest.mark.parametrize("claims", [
    b'{"user_id": "ann"}',
    b'  {"user_id":"ann"}',
    base64.urlsafe_b64encode(b'{"user_id": "ann"}'),
    base64.urlsafe_b64encode(b'{"user_id": "ann"}').rstrip(b"="),
    base64.urlsafe_b64encode('{"user_id": "ann", "name": "Ωÿ~?>>>"}'.encode()).rstrip(b"="),
    '{"user_id": "ann", "name": "Ωÿ"}'.encode(),
])  # fmt: skip
def test_claims_come_as_json_or_as_base64url_with_and_without_padding(claims):
    assert read_caller(_headers(claims), _settings()) == ANN


@pytest.mark.parametrize("name", ["user_id", "sub", "uid"])
def test_the_user_may_be_called_user_id_sub_or_uid(name):
    assert read_caller(_headers(_json(**{name: "ann"})), _settings()) == ANN


def test_user_id_goes_before_sub_and_sub_before_uid():
    assert read_caller(_headers(_json(uid="c", sub="b", user_id="a")), _settings()).user_id == "a"
    assert read_caller(_headers(_json(uid="c", sub="b")), _settings()).user_id == "b"


@pytest.mark.parametrize(("admin", "right"), [(True, True), (False, False), ("true", False), (1, False), (None, False)])
def test_only_the_boolean_true_makes_an_admin(admin, right):
    assert read_caller(_headers(_json(user_id="ann", admin=admin)), _settings()).admin is right


def test_a_secret_rotates_without_downtime():
    claims = _json(user_id="ann")
    both = _settings(shared_secret_previous=SecretStr("the-previous-secret"))
    assert read_caller(_headers(claims), both) == ANN
    assert read_caller(_headers(claims, secret="the-previous-secret"), both) == ANN
    _refused(_headers(claims, secret="the-previous-secret"))
    _refused(_headers(claims, secret="a third secret"), both)


def test_claims_expire_at_exp():
    assert read_caller(_headers(_json(user_id="ann", exp=time.time() + 60)), _settings()) == ANN
    assert _refused(_headers(_json(user_id="ann", exp=time.time() - 1))).body["code"] == "expired_claims"


def test_claims_grow_too_old_only_where_an_age_is_set():
    old = _headers(_json(user_id="ann", iat=int(time.time()) - 100))
    assert read_caller(old, _settings()) == ANN
    assert read_caller(old, _settings(max_claim_age_seconds=200)) == ANN
    assert _refused(old, _settings(max_claim_age_seconds=50)).body["code"] == "expired_claims"
    assert read_caller(_headers(_json(user_id="ann")), _settings(max_claim_age_seconds=50)) == ANN


@pytest.mark.parametrize("ahead", [100, 1.7e12])
def test_claims_from_the_future_are_no_younger_than_those_of_the_past(ahead):
    early = _headers(_json(user_id="ann", iat=time.time() + ahead))
    assert read_caller(early, _settings()) == ANN
    assert _refused(early, _settings(max_claim_age_seconds=50)).body["code"] == "expired_claims"


@pytest.mark.parametrize("missing", ["user", "signature"])
def test_a_missing_header_has_the_sentence_of_the_contract(missing):
    names = [name for name in _headers(_json(user_id="ann")).raw if missing not in name[0].decode()]
    assert _refused(Headers(raw=names)).body == {
        "detail": "Missing authentication headers", "code": "missing_authentication",
    }  # fmt: skip


@pytest.mark.parametrize("signature", [
    b"", b"0", b"0" * 64, b"\xff" * 64, "Ω".encode(), sign(_json(user_id="bob"), SECRET).encode(),
    sign(_json(user_id="ann"), "another secret").encode(), b"sha256=" + sign(_json(user_id="ann"), SECRET).encode(),
])  # fmt: skip
def test_a_signature_that_does_not_fit_is_401(signature):
    assert _refused(_headers(_json(user_id="ann"), signature=signature)).body["code"] == "bad_signature"


@pytest.mark.parametrize("which", [b"x-novalto-user", b"x-novalto-signature"])
def test_a_header_that_stands_twice_is_401_and_not_a_choice(which):
    headers = _headers(_json(user_id="ann"))
    again = [header for header in headers.raw if header[0] == which]
    assert _refused(Headers(raw=headers.raw + again)).body["code"] == "bad_authentication"


@pytest.mark.parametrize("claims", [
    b"", b"{", b"[]", b'["ann"]', b"7", b"null", b'"ann"', b"not json", b"\xff\xfe{}", b"====", b"e", b"{} {}",
    base64.urlsafe_b64encode(b"[1]"), base64.urlsafe_b64encode(b"\xff\xff"), base64.urlsafe_b64encode(b"{"),
    b'{"user_id": "ann", "user_id": "bob"}', b'{"user_id": "a\\u0000b"}', b'{"user_id": "\\ud800"}',
    b'{"user_id": "ann", "exp": NaN}', b'{"user_id": "ann", "exp": 1e999}',
    b'{"user_id": "ann", "exp": ' + b"9" * 400 + b"}",
    b'{"user_id": "ann", "exp": "soon"}', b'{"user_id": "ann", "exp": true}', b'{"user_id": "ann", "iat": []}',
    b"{}", b'{"user_id": ""}', b'{"user_id": 7}', b'{"user_id": "  "}',
    b'{"user_id": 0, "sub": "ann"}', b'{"user_id": false, "sub": "ann"}', b'{"user_id": [], "sub": "ann"}',
    b'{"user_id": ["ann"]}', b'{"user_id": {"a": 1}}',
    b'{"user_id": "' + b"a" * 201 + b'"}', b'{"user_id": "ann", "x": ' + b"[" * 3000 + b"]" * 3000 + b"}",
    b'{"user_id": "ann", "x": "' + b"a" * 10_000 + b'"}',
], ids=lambda claims: claims[:24].decode("latin-1"))  # fmt: skip
def test_signed_claims_that_make_no_sense_are_401_and_never_an_error_of_ours(claims):
    assert _refused(_headers(claims)).body["code"] == "malformed_claims"


@pytest.mark.parametrize("secret", ["short", "no UTF-8 at all: \udcff"])
def test_what_is_short_or_no_utf8_is_no_secret_neither_the_current_nor_the_previous(secret):
    with pytest.raises(ValueError, match="shared_secret"):
        GatewaySettings(shared_secret=SecretStr(secret))
    with pytest.raises(ValueError, match="shared_secret_previous"):
        _settings(shared_secret_previous=SecretStr(secret))


def test_an_empty_previous_secret_is_none():
    empty = _settings(shared_secret_previous=SecretStr(""))
    assert read_caller(_headers(_json(user_id="ann")), empty) == ANN
    _refused(_headers(_json(user_id="ann"), secret=""), empty)
