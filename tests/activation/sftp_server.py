"""An SFTP server in a thread: a folder of this machine behind paramiko's own server."""

import os
import socket
import threading
from pathlib import Path

import paramiko


class _Login(paramiko.ServerInterface):
    def check_auth_password(self, username: str, password: str) -> int:
        known = (username, password) == ("tool", "secret")
        return paramiko.AUTH_SUCCESSFUL if known else paramiko.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED


class _Handle(paramiko.SFTPHandle):
    def stat(self) -> paramiko.SFTPAttributes:
        return paramiko.SFTPAttributes.from_stat(os.fstat(self.readfile.fileno()))


def _files_of(root: Path) -> type[paramiko.SFTPServerInterface]:
    class Files(paramiko.SFTPServerInterface):
        def _at(self, path: str) -> Path:
            return root / self.canonicalize(path).lstrip("/")

        def list_folder(self, path: str):
            return [self.lstat(f"{path}/{each.name}") for each in self._at(path).iterdir()]

        def stat(self, path: str):
            try:
                return paramiko.SFTPAttributes.from_stat(self._at(path).stat(), Path(path).name)
            except OSError as error:
                return paramiko.SFTPServer.convert_errno(error.errno)

        lstat = stat

        def open(self, path: str, flags: int, attr: object):
            file = os.fdopen(os.open(self._at(path), flags, 0o600), "r+b" if flags & os.O_RDWR
                             else "wb" if flags & os.O_WRONLY else "rb")  # fmt: skip
            handle = _Handle(flags)
            handle.readfile = handle.writefile = file
            return handle

        def mkdir(self, path: str, attr: object):
            self._at(path).mkdir()
            return paramiko.SFTP_OK

        def remove(self, path: str):
            self._at(path).unlink()
            return paramiko.SFTP_OK

    return Files


class SftpServer:
    """Serves ``root`` to the user ``tool`` with the password ``secret``."""

    def __init__(self, root: Path) -> None:
        self._files = _files_of(root)
        self._key = paramiko.RSAKey.generate(2048)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._transports: list[paramiko.Transport] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            transport = paramiko.Transport(client)
            transport.add_server_key(self._key)
            transport.set_subsystem_handler("sftp", paramiko.SFTPServer, self._files)
            transport.start_server(server=_Login())
            self._transports.append(transport)

    def stop(self) -> None:
        self._listening.close()
        for transport in self._transports:
            transport.close()
