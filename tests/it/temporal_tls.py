# Terminates TLS in front of a server: takes the server's host:port as argument, prints the port that it listens on.
import asyncio
import ssl
import sys

host, port = sys.argv[1].rsplit(":", 1)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("server.pem", "server.key")
context.set_alpn_protocols(["h2"])


async def pipe(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except (ConnectionError, ssl.SSLError):
        pass
    finally:
        writer.close()


async def relay(reader, writer):
    upstream = await asyncio.open_connection(host, port)
    await asyncio.gather(pipe(reader, upstream[1]), pipe(upstream[0], writer))


async def main():
    server = await asyncio.start_server(relay, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
