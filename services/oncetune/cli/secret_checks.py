"""Whether a secret is one: set, long enough, copied whole and alone, not somebody's example."""

import re

from oncetune.cli.checks import Check, fail, fingerprint, ok, warn

MINIMUM_LENGTH = 16  # as gateway/settings.py asks
GOOD_LENGTH = 32
MAKE_ONE = "make one with: openssl rand -hex 32"
_FEWEST_LETTERS = 8  # different ones: aaaaaaaaaaaaaaaaaaaa is no secret
_PLACEHOLDER = re.compile(
    r"change[-_ ]?(me|this|it)|place[-_ ]?holder|example|dummy|foobar|your[-_ ]|replace[-_ ]|password"
    r"|x{6,}|\.{3}|…|123456|qwerty|^(my|the|a|super|top|shared|gateway|test)[-_ ]*(secret|key|token)|^<.*>$|^\$\{?\w",
    re.IGNORECASE,
)


def check_secret(name: str, secret: str | None, *, same_as: str) -> Check:
    """The secret in the variable `name`, which is to be the same as `same_as`. The secret itself is never told."""
    if not secret:
        return fail(name, "is not set", f"Set {name} to {same_as}; or {MAKE_ONE}")
    if problem := _damage(secret):
        return fail(name, f"{problem} (fingerprint {fingerprint(secret)})", f"Set {name} to {same_as}, whole and alone")
    size = len(secret)
    if size < MINIMUM_LENGTH:
        return fail(name, f"has {size} characters, {MINIMUM_LENGTH} are the least", f"On both sides, {MAKE_ONE}")
    if _PLACEHOLDER.search(secret) or len(set(secret)) < _FEWEST_LETTERS:
        return fail(name, f"looks like a placeholder (fingerprint {fingerprint(secret)})", f"On both sides, {MAKE_ONE}")
    words = f"{size} characters, fingerprint {fingerprint(secret)}"
    if size < GOOD_LENGTH:
        return warn(name, words, f"{GOOD_LENGTH} characters or more cannot be guessed; on both sides, {MAKE_ONE}")
    return ok(name, words)


def _damage(secret: str) -> str | None:
    """What copying did to it, if anything: each of these signs differently and looks the same."""
    if secret != secret.strip():
        return "begins or ends with a blank or a line break"
    if len(secret) > 1 and secret[0] == secret[-1] and secret[0] in "\"'`":
        return "stands in quotes that belong to it"
    if not (secret.isascii() and secret.isprintable()):
        return "has letters that no header can carry"
    return None
