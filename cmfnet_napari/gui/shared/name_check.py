"""What TG-263 says of a structure's name, as it is typed; a better one is a click away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from qtpy.QtCore import QModelIndex
from qtpy.QtWidgets import (
    QLineEdit,
    QMenu,
    QSizePolicy,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableWidget,
    QToolButton,
    QWidget,
)

from cmfnet_napari.core.nomenclature.name_rules import Verdict, judge
from cmfnet_napari.core.nomenclature.propose import nearest
from cmfnet_napari.gui.shared.markup import plain

_TWICE = "Another structure has this name: give each one of its own."


class NameCheck(QToolButton):
    """Says whether a name is one by TG-263. Any other is allowed just as well.

    Parameters
    ----------
    take : callable
        Called with the name that the user clicked.
    """

    def __init__(self, take: Callable[[str], object]) -> None:
        super().__init__()
        self._take = take
        self._clicked: Callable[[], object] | None = None
        self.setAutoRaise(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.clicked.connect(self._click)

    def judge(self, name: str, others: Sequence[str]) -> Verdict | None:
        """Say what is to be said of a name that may not be complete yet.

        Parameters
        ----------
        name : str
            The name.
        others : sequence of str
            Names of the other structures.

        Returns
        -------
        Verdict or None
            None where the name is not allowed, or another structure has it.
        """
        name = name.strip()
        taken = {other.strip().casefold() for other in others}
        verdict = judge(name)
        if name.casefold() in taken:
            self._offer([], _TWICE)
            return None
        if not verdict.allowed:
            self._offer([n for n in nearest(name) if n.casefold() not in taken], verdict.why)
            return None
        structure = verdict.structure
        either: list[str] = []
        if structure is not None and verdict.whole and structure.reverse != structure.name:
            either = [structure.reverse if name == structure.name else structure.name]
        self._show("✓", f"A name by TG-263: {verdict.about}.", None, either)
        return verdict

    def say(self, text: str, tip: str = "", action: Callable[[], object] | None = None) -> None:
        """Say something else than of a name, with what a click does."""
        self._show(text, tip, action, [])

    def _offer(self, found: Sequence[str], why: str) -> None:
        """The nearest name one click away, others in a menu."""
        if not found:
            self._show("free", why, None, [])
            return
        tip = f"{why} Click to call it {found[0]}: {judge(found[0]).about}."
        more = found if len(found) > 1 else []
        self._show(f"→ {found[0]}", tip, partial(self._take, found[0]), more)

    def _show(
        self, text: str, tip: str, action: Callable[[], object] | None, names: Sequence[str]
    ) -> None:
        self.setText(text)
        self.setToolTip(plain(tip))
        self._clicked = action
        before, menu = self.menu(), QMenu(self) if names else None
        for name in names:
            menu.addAction(f"{name}   {judge(name).about}", partial(self._take, name))
        self.setMenu(menu)  # without one, no arrow
        mode = QToolButton.ToolButtonPopupMode
        self.setPopupMode(mode.DelayedPopup if menu is None else mode.MenuButtonPopup)
        if before is not None:
            before.deleteLater()

    def _click(self) -> None:
        if self._clicked is not None:
            self._clicked()


class NameTyped(QStyledItemDelegate):
    """The field of a table that a name is typed into: followed at every letter.

    Parameters
    ----------
    table : QTableWidget
        Whose it is.
    typed : callable
        Called with the row and what stands in the field.
    """

    def __init__(self, table: QTableWidget, typed: Callable[[int, str], object]) -> None:
        super().__init__(table)
        self._typed = typed

    def createEditor(  # noqa: N802 (Qt's name)
        self, parent: QWidget, option: QStyleOptionViewItem, index: QModelIndex
    ) -> QWidget:
        """Qt's own field, followed."""
        editor = super().createEditor(parent, option, index)
        if isinstance(editor, QLineEdit):
            editor.textEdited.connect(partial(self._typed, index.row()))
        return editor
