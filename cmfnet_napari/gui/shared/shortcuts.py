"""A key as data, and keys bound in a viewer; each room has its keys beside what they do.

They are actions of napari, so its preferences list them and can change them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from inspect import unwrap

from napari.components import ViewerModel
from napari.layers import Labels
from napari.settings import get_settings
from napari.utils.action_manager import action_manager
from napari.utils.key_bindings import KeyBindingLike

from cmfnet_napari.gui.shared.widgets import said


@dataclass(frozen=True)
class Shortcut:
    """A key, and what it does in a clinician's words; what is held is told of both ends."""

    key: KeyBindingLike
    title: str
    held: bool = False  # its action gets True when it is pressed, False when it is let go
    on_layer: bool = False  # on the strokes' layer too, where napari has its own

    @property
    def name(self) -> str:
        """What napari calls the action."""
        return f"cmfnet-napari:{self.title.lower().replace(':', '').replace(' ', '_')}"

    @property
    def keys(self) -> list[KeyBindingLike]:
        """The keys as they are: those of napari's preferences, if they were changed there."""
        return get_settings().shortcuts.shortcuts.get(self.name, [self.key])


Actions = Mapping[Shortcut, Callable[..., object]]  # what is done for each
_bound: list[tuple[ViewerModel, Actions]] = []  # of viewers with a patient


def bind_keys(viewer: ViewerModel, scribbles: Labels, actions: Actions) -> None:
    """Let the keys act in a viewer; undo also on the strokes' layer, where napari has its own."""
    _register(actions)
    _bound.append((viewer, actions))
    bind_on_layer(scribbles, actions)


def bind_on_layer(layer: Labels, actions: Actions) -> None:
    """Let undo act on a layer that is drawn on, in place of napari's own."""
    for shortcut in _on_layer(actions):
        act = said(actions[shortcut])
        layer.bind_key(shortcut.key, _pressed(act), overwrite=True)


def _pressed(act: Callable[[], object]) -> Callable[[Labels], Callable[[], None]]:
    def press(_layer: Labels) -> Callable[[], None]:
        act()
        return _let_go

    return press


def _let_go() -> None:
    """What happens when the key is let go: nothing, and that has to be said.

    napari keeps for good what the last key of a letter was to do at its end, by the letter alone:
    Z leaves the mode that was before it when it was held long enough. So to let Ctrl+Z go, an hour
    later, was to go back to that mode.
    """


def unbind_keys(scribbles: Labels, actions: Actions) -> None:
    """Let them do nothing any more."""
    _bound[:] = [bound for bound in _bound if bound[1] is not actions]
    for shortcut in _on_layer(actions):
        scribbles.bind_key(shortcut.key, None)


def _on_layer(actions: Actions) -> list[Shortcut]:
    return [shortcut for shortcut in actions if shortcut.on_layer]


def _register(shortcuts: Iterable[Shortcut]) -> None:
    """Make the keys known to napari, which keeps what its user changes; twice is once."""
    for shortcut in shortcuts:
        action_manager.register_action(
            shortcut.name, _action(shortcut), shortcut.title, ViewerModel
        )
        for key in shortcut.keys:
            action_manager.bind_shortcut(shortcut.name, key)


def _action(shortcut: Shortcut) -> Callable[[ViewerModel], object]:
    if not shortcut.held:

        def act(viewer: ViewerModel) -> Callable[[], None]:
            if (actions := _actions_of(viewer)) is not None:
                said(actions[shortcut])()
            return _let_go

        return act

    def hold(viewer: ViewerModel) -> Iterator[None]:
        actions = _actions_of(viewer)
        if actions is None:
            return
        said(actions[shortcut])(True)
        yield
        said(actions[shortcut])(False)

    return hold


def _actions_of(viewer: ViewerModel) -> Actions | None:
    """What keys do in a viewer with a patient; plugins get a proxy of theirs (wrapt)."""
    return next((actions for v, actions in _bound if unwrap(v) is unwrap(viewer)), None)
