"""The mail catcher: accepts every mail, keeps it in a Maildir, forwards none.

The address controls the answer: reply-451@… and reply-550@… get that code, reply-451-once@… only the first time. A mail
to after-7@… is stored at once and answered 7 seconds later; after-7-once@… delays only the first answer. A + and any
text may come before the @. The password "wrong" is refused. Each mail is stored with its envelope addresses and the
number of its connection.
"""

import argparse
import asyncio
import itertools
import os
import re
import ssl
import uuid

from aiosmtpd.smtp import SMTP, AuthResult

ASKED = re.compile(r"reply-([45]\d\d)(-once)?(\+[^@]*)?@")
LATE = re.compile(r"after-(\d+)(-once)?(\+[^@]*)?@")


class Keep:
    def __init__(self, maildir):
        self.maildir = maildir
        self.answered = set()
        self.connections = itertools.count(1)
        for part in ("tmp", "new", "cur"):
            os.makedirs(os.path.join(maildir, part), exist_ok=True)

    async def handle_RCPT(self, server, session, envelope, address, options):
        asked = ASKED.match(address)
        if asked and address not in self.answered:
            if asked[2]:
                self.answered.add(address)
            return f"{asked[1]} as the address asks: {address}"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        if not hasattr(session, "number"):
            session.number = next(self.connections)
        name = f"{uuid.uuid4().hex}.eml"
        lines = [f"Return-Path: <{envelope.mail_from}>"]
        lines += [f"Delivered-To: {address}" for address in envelope.rcpt_tos]
        encrypted = "yes" if server.transport.get_extra_info("ssl_object") else "no"
        lines += [f"X-Catcher-Connection: {session.number}", f"X-Catcher-Tls: {encrypted}"]
        path = os.path.join(self.maildir, "tmp", name)
        with open(path, "wb") as file:
            file.write("".join(line + "\r\n" for line in lines).encode() + envelope.content)
        os.rename(path, os.path.join(self.maildir, "new", name))
        await asyncio.sleep(max(map(self.pause, envelope.rcpt_tos)))
        return "250 OK"

    def pause(self, address):
        late = LATE.match(address)
        if not late or address in self.answered:
            return 0
        if late[2]:
            self.answered.add(address)
        return int(late[1])


def login(server, session, envelope, mechanism, data):
    # handled: whether this function has already answered.
    return AuthResult(success=getattr(data, "password", b"") != b"wrong", handled=False)


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("maildir")
    parser.add_argument("--starttls", nargs=2, metavar=("CERTIFICATE", "KEY"))
    parser.add_argument("--tls", nargs=2, metavar=("CERTIFICATE", "KEY"))
    options = parser.parse_args()
    keep = Keep(options.maildir)
    context = None
    files = options.starttls or options.tls
    if files:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*files)

    def serve():
        return SMTP(
            keep,
            # Without it, aiosmtpd looks up the host's name in DNS.
            hostname="localhost",
            ident="genflow mail catcher",
            enable_SMTPUTF8=True,
            tls_context=context if options.starttls else None,
            auth_require_tls=False,
            authenticator=login,
            loop=asyncio.get_running_loop(),
        )

    implicit = context if options.tls else None
    server = await asyncio.get_running_loop().create_server(serve, "127.0.0.1", options.port, ssl=implicit)
    print(f"listening on 127.0.0.1:{server.sockets[0].getsockname()[1]}.", flush=True)
    await server.serve_forever()


asyncio.run(main())
