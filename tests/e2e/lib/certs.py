"""A certificate authority and server certificates, made at run time by openssl."""

import os
import subprocess


class Authority:
    """The test's own authority; clients trust `ca_file` and nothing else."""

    def __init__(self, workspace):
        self.workspace = workspace
        self.folder = workspace.make_dir("certs")
        self.ca_file = os.path.join(self.folder, "ca.pem")
        self.ca_key = os.path.join(self.folder, "ca.key")
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                      "-nodes", "-days", "30", "-subj", "/CN=mongoose test authority",
                      "-addext", "basicConstraints=critical,CA:TRUE",
                      "-keyout", self.ca_key, "-out", self.ca_file)

    def issue(self, name, domains, user=None, days=30):
        """(certificate, key) for these domains; the key is readable by `user`."""
        base = os.path.join(self.folder, name)
        names = ",".join(f"DNS:{domain}" for domain in domains)
        self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                      "-subj", f"/CN={domains[0]}", "-keyout", base + ".key", "-out", base + ".csr")
        extensions = self.workspace.write(
            f"certs/{name}.ext", f"subjectAltName={names}\nbasicConstraints=CA:FALSE\n"
            "extendedKeyUsage=serverAuth,clientAuth\n")
        self._openssl("x509", "-req", "-in", base + ".csr", "-CA", self.ca_file, "-CAkey",
                      self.ca_key, "-CAcreateserial", "-days", str(days), "-extfile", extensions,
                      "-out", base + ".pem")
        self.workspace.give(base + ".key", user)
        return base + ".pem", base + ".key"

    @staticmethod
    def _openssl(*args):
        done = subprocess.run(["openssl", *args], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"openssl {args[0]}: {done.stderr}")
