"""go-sendxmpp (Debian's): one message, or a listener that prints what it hears."""

import os
import subprocess


def _command(user, domain, password_file, host, port, tls, extra):
    # The password stands in a file, as go-sendxmpp's manual asks; certificates are checked.
    extra = (["-t"] if tls == "direct" else []) + extra
    return ["/usr/bin/go-sendxmpp", "-f", password_file, "-u", f"{user}@{domain}", "-j",
            f"{host}:{port}", *extra]


def _write_config(workspace, user, domain, password):
    path = workspace.path(f"sendxmpprc-{user}")
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w",
              encoding="utf-8") as file:
        file.write(f"username: {user}@{domain}\npassword: {password}\n")
    return path


def send(workspace, user, domain, password, host, port, ca_file, to, text, tls="starttls",
         timeout_s=30):
    """The finished go-sendxmpp process that sent `text`."""
    config = _write_config(workspace, user, domain, password)
    return subprocess.run(_command(user, domain, config, host, port, tls, [to]), input=text,
                          capture_output=True, text=True, timeout=timeout_s, check=False,
                          env={**os.environ, "SSL_CERT_FILE": ca_file})


def listen(workspace, user, domain, password, host, port, ca_file, tls="starttls"):
    """A listener, whose log holds what it heard. It ends with the workspace."""
    config = _write_config(workspace, user, domain, password)
    return workspace.start(f"sendxmpp-{user}",
                           _command(user, domain, config, host, port, tls, ["-l"]),
                           env={"SSL_CERT_FILE": ca_file})
