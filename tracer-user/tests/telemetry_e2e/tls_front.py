"""Speaks TLS (OpenSSL's) in front of a server that does not: CERT KEY PORT. Prints its own port, then a line for each
connection: `taken`, or `refused` and why."""

import socket
import ssl
import sys
import threading

cert, key, upstream = sys.argv[1], sys.argv[2], int(sys.argv[3])
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(cert, key)
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)


def pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    try:
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def serve(client):
    try:
        client = context.wrap_socket(client, server_side=True)
        # In TLS 1.3 the other side refuses after this side is done: only what it sends tells.
        first = client.recv(65536)
    except OSError as why:
        print("refused", why, flush=True)
        return
    if not first:
        print("refused", "it closed", flush=True)
        return
    print("taken", client.version(), flush=True)
    server = socket.create_connection(("127.0.0.1", upstream))
    server.sendall(first)
    threading.Thread(target=pump, args=(client, server), daemon=True).start()
    pump(server, client)
    client.close()


while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
