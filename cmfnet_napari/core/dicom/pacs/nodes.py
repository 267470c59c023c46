"""The PACS that are known here: a list in the user's configuration, passwords in the keyring."""

from __future__ import annotations

import os
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import keyring
from keyring.errors import KeyringError
from platformdirs import user_config_path
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import private_folder, read_json, write_json

NODES_VARIABLE = "CMFNET_PACS"
PASSWORD_VARIABLE = "CMFNET_PACS_PASSWORD"  # where there is no keyring, such as on a cluster
_SERVICE = "cmfnet-napari PACS"


class Node(BaseModel):
    """How to reach one PACS.

    Attributes
    ----------
    name : str
        What people call it here.
    url : str
        Of its DICOMweb service; empty: it is spoken to by DICOM messages (DIMSE).
    host, port, title : str, int, str
        Its address and application entity title, for DICOM messages.
    our_title, our_port : str, int
        What this computer is called, and where it waits for what it asked for (C-MOVE); the PACS
        must know both.
    tls : bool
        Encrypt DICOM messages; a url says so by https.
    ca_file, cert_file, key_file : str
        PEM files: whom to trust instead of the system's list, and who we are.
    proxy : str
        Goes between us and a DICOMweb service; none from the environment does.
    user : str
        Its password is in the system's keyring.
    timeout_s : float
        How long to wait for an answer, seconds.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str = Field(min_length=1, max_length=64)
    url: str = ""
    host: str = ""
    port: int = Field(default=104, ge=1, le=65535)
    title: str = Field(default="", max_length=16)
    our_title: str = Field(default="CMFNET", min_length=1, max_length=16)
    our_port: int = Field(default=11112, ge=0, le=65535)
    tls: bool = False
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    proxy: str = ""
    user: str = ""
    timeout_s: float = Field(default=30.0, gt=0)

    @property
    def address(self) -> str:
        """Where it is, for messages."""
        return self.url or f"{self.title} at {self.host}:{self.port}"

    @model_validator(mode="after")
    def _reachable(self) -> Node:
        parts = urlsplit(self.url)
        if self.url and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise ValueError("its address must begin with https:// or http://")
        if parts.password or parts.username:
            raise ValueError("its address may hold no password; give the user by itself")
        if not self.url and not (self.host and self.title):
            raise ValueError(
                "it needs a DICOMweb address (url), or computer (host), port and AE title"
            )
        open_line = parts.scheme == "http" if self.url else not self.tls
        if self.user and open_line and not _is_here(parts.hostname or self.host):
            raise ValueError("a password would go over the network for all to read: use https/TLS")
        return self


def make_node(**values: object) -> Node:
    """Make a Node; UserError instead of pydantic's when it makes no sense."""
    try:
        return Node.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        words = first["msg"].removeprefix("Value error, ")
        raise UserError(
            f"This PACS cannot be used: {field + ': ' if field else ''}{words}."
        ) from error


def nodes_file() -> Path:
    """Where the list is kept (variable ``CMFNET_PACS``)."""
    chosen = os.environ.get(NODES_VARIABLE)
    return (
        Path(chosen) if chosen else user_config_path("cmfnet-napari", appauthor=False) / "pacs.json"
    )


def load_nodes() -> dict[str, Node]:
    """All known PACS by name."""
    file = nodes_file()
    if not file.exists():
        return {}
    nodes = [make_node(**values) for values in read_json(file).get("nodes", [])]
    return {node.name: node for node in nodes}


def find_node(name: str) -> Node:
    """The PACS of that name.

    Raises
    ------
    UserError
        There is none.
    """
    nodes = load_nodes()
    if name not in nodes:
        known = ", ".join(nodes) or "none yet; add one with `cmfnet pacs add`"
        raise UserError(f"No PACS is called {name} here. Known: {known}.")
    return nodes[name]


def save_node(node: Node, password: str = "") -> None:
    """Add a PACS to the list, or change it; a password goes to the system's keyring."""
    if password:
        try:
            keyring.set_password(_SERVICE, node.name, password)
        except KeyringError as error:
            raise UserError(
                "This computer has no keyring for passwords. Leave the password out, and give it "
                f"in the variable {PASSWORD_VARIABLE} whenever the PACS is used."
            ) from error
    _write({**load_nodes(), node.name: node})


def remove_node(name: str) -> None:
    """Forget a PACS and its password."""
    find_node(name)
    with suppress(KeyringError):  # none was kept
        keyring.delete_password(_SERVICE, name)
    _write({other: node for other, node in load_nodes().items() if other != name})


def password_of(node: Node) -> str:
    """Password of the node's user.

    Raises
    ------
    UserError
        None is known.
    """
    password = os.environ.get(PASSWORD_VARIABLE)
    if not password:
        try:
            password = keyring.get_password(_SERVICE, node.name)
        except KeyringError:
            password = None
    if not password:
        raise UserError(
            f"The password of {node.user} for {node.name} is not in this computer's keyring. Add "
            f"the PACS again, or give it in the variable {PASSWORD_VARIABLE}."
        )
    return password


def _write(nodes: dict[str, Node]) -> None:
    file = nodes_file()
    private_folder(file.parent)
    known = [node.model_dump(exclude_defaults=True) for node in nodes.values()]
    write_json(file, {"nodes": known}, private=True)


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
