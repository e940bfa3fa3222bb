"""An HTTPS server on a free port of this machine that serves a folder, with a certificate of an authority made for the occasion.

usage: https_server.py FOLDER AUTHORITY.pem    writes the authority's certificate, prints its own address, then serves
"""

import functools
import http.server
import os
import ssl
import sys
import threading
import time

import trustme

folder, authority_file = sys.argv[1:]
authority = trustme.CA()
authority.cert_pem.write_to_path(authority_file)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
authority.issue_cert("localhost").configure_cert(context)

handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
server.socket = context.wrap_socket(server.socket, server_side=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(f"https://localhost:{server.server_port}", flush=True)
parent = os.getppid()
# Ends with whoever started it, even if that was killed.
while os.getppid() == parent:
    time.sleep(0.2)
