"""The PACS that are known here, for the dialogs that use one. It holds no widget."""

from __future__ import annotations

from qtpy.QtCore import QObject, Signal

from cmfnet_napari.core.dicom.pacs import transfer as pacs
from cmfnet_napari.core.dicom.pacs.nodes import Node, find_node, load_nodes, save_node
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.gui.shared.tasks import run_in_background, show_failure


class KnownPacs(QObject):
    """Lists, adds and tests them."""

    added = Signal(str)  # its name
    answered = Signal(str)  # what has happened, in a sentence
    failed = Signal(str)  # why not

    @property
    def names(self) -> list[str]:
        """Their names.

        Raises
        ------
        UserError
            The list is damaged.
        """
        return list(load_nodes())

    def node(self, name: str) -> Node:
        """The PACS of that name.

        Raises
        ------
        UserError
            There is none.
        """
        return find_node(name)

    def add(self, node: Node, password: str) -> None:
        """Add a PACS, or change the one of that name; its password goes to the keyring.

        Raises
        ------
        UserError
            There is no keyring, or the list cannot be written.
        """
        save_node(node, password)
        self.added.emit(node.name)
        self.answered.emit(f"{node.name} was added.")

    def test(self, name: str) -> None:
        """Ask a PACS whether it is there and lets us in."""

        def done(answer: None) -> None:
            self.answered.emit(f"{name} answers.")

        run_in_background(_echo, self.node(name), done=done, failed=self._on_failed)

    def _on_failed(self, error: Exception) -> None:
        known = isinstance(error, UserError)
        self.failed.emit(str(error) if known else "The PACS could not be tested.")
        if not known:
            show_failure(error)


def _echo(node: Node) -> None:
    pacs.connect(node).echo()
