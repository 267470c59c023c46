"""Whether the user has read a model's card, and where a patient is outside of it. No widget."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress

from cmfnet_napari.core.case.said_once import note_said, said_before
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit.card_scope import outside_card
from cmfnet_napari.core.fit.card_sections import read_full_card
from cmfnet_napari.core.report.card_words import card_json, card_markdown
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.shared.markup import plain
from cmfnet_napari.gui.shared.messages import show_warning
from cmfnet_napari.gui.shared.preferences import preferences
from cmfnet_napari.gui.training.base_models import BaseModel


class CardCheck:
    """Asks for a model's card to be read once on this computer, and warns once a patient."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def unread(self, model: BaseModel) -> bool:
        """Whether the card was not read yet as it is now; a patient's own training has none."""
        if model.path.is_relative_to(self._session.case.folder) or not model.path.is_file():
            return False
        return _digest(model) not in preferences().cards_read

    def note_read(self, model: BaseModel) -> None:
        """The user has read it."""
        kept = preferences()
        kept.cards_read = [*kept.cards_read, _digest(model)]
        kept.write()

    def warn(self, model: BaseModel) -> None:
        """Say where the open patient is outside of what the card says; once a patient."""
        case, digest = self._session.case, _digest(model)
        own = model.path.is_relative_to(case.folder)
        if own or case.read_only or said_before(case.folder, digest):
            return
        try:
            sentences = outside_card(read_full_card(model.path), case.study)
        except UserError:  # `card_text` has said so
            return
        if sentences:
            show_warning(plain("\n".join(sentences)))
        with suppress(UserError):  # a full disk: it is said again
            note_said(case.folder, digest)


def card_text(model: BaseModel) -> str:
    """A model's card as Markdown; what is wrong with it where it cannot be read."""
    try:
        return card_markdown(read_full_card(model.path))
    except UserError as error:
        return f"# {model.name}\n\n{error}"


def _digest(model: BaseModel) -> str:
    """Of all that a card says: one that was changed is another one."""
    try:
        said = json.dumps(card_json(read_full_card(model.path)), sort_keys=True)
    except UserError as error:
        said = f"{model.name}: {error}"
    return hashlib.sha256(said.encode()).hexdigest()[:32]
