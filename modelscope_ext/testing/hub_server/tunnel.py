"""Modelers' client insists on TLS and on its own host's name: a proxy takes it there without leaving this machine."""

from __future__ import annotations

import io
import socket
import ssl
from pathlib import Path

from modelscope_ext.testing.hub_server.content import CHUNK
from modelscope_ext.testing.hub_server.exchange import Request
from modelscope_ext.testing.hub_server.openmind_ import CDN_HOST, HOST
from modelscope_ext.testing.hub_server.wire import Handler, hang_up

__all__ = ["TunnelHandler", "certify"]


def certify(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """Make a certificate authority for this one server, and return its certificate and what the server shows.

    Raises:
        ImportError: trustme is not installed.
    """
    try:
        import trustme
    except ImportError as error:
        raise ImportError("serving Modelers needs certificates: pip install trustme") from error
    authority = trustme.CA()
    bundle = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST, CDN_HOST).configure_cert(context)
    return bundle, context


class TunnelHandler(Handler):
    """A proxy's connection: a tunnel to Modelers ends here; to any other host there is none."""

    context: ssl.SSLContext

    def do_CONNECT(self) -> None:  # noqa: N802 - http.server's name
        """Answer for the host that the tunnel was meant for."""
        host = self.path.rpartition(":")[0]
        if host not in (HOST, CDN_HOST):
            refused = Request("proxy", "CONNECT", self.path, {}, host, None, None, status=403, done=True)
            self.server.hub_server.requests.append(refused)
            self.send_error(403, "this proxy leads to Modelers only")
            return
        self.send_response_only(200, "Connection established")
        self.end_headers()
        self.wfile.flush()
        tunnel = self.context.wrap_socket(self.connection, server_side=True)
        self.server.hold(tunnel)
        tunnel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        self.connection = tunnel
        self.rfile = io.BufferedReader(tunnel.makefile("rb", 0), CHUNK)
        self.wfile = io.BufferedWriter(tunnel.makefile("wb", 0), CHUNK)
        self.close_connection = False

    def finish(self) -> None:
        """Close the tunnel, which took the plain connection's place."""
        try:
            super().finish()
        finally:
            if isinstance(self.connection, ssl.SSLSocket):
                self.server.release(self.connection)
                hang_up(self.connection)
