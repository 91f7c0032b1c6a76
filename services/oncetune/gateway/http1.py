"""HTTP/1.1 as uvicorn speaks it, whose answer to bytes that are no HTTP has the shape of every error."""

import json

from uvicorn.protocols.http.h11_impl import H11Protocol

_BODY = json.dumps({"detail": "These bytes are not an HTTP/1.1 request", "code": "invalid_http"}).encode()
_ANSWER = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
)


class Http1(H11Protocol):
    """No route sees such a request: the server answers it and hangs up."""

    def send_400_response(self, _msg: str) -> None:
        """Called for headers that are too large, a NUL, two lengths, a broken chunk."""
        self.transport.write(_ANSWER)
        self.transport.close()
