"""Every setting of a training as a form, made from the fields of its configuration."""

from __future__ import annotations

import types
from decimal import Decimal
from functools import cached_property
from typing import Any, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from magicgui.widgets import create_widget
from magicgui.widgets.bases import ValueWidget
from pydantic.fields import FieldInfo
from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QDoubleSpinBox, QFormLayout, QWidget
from superqt import QCollapsible

from cmfnet_napari.core.fit.config import Config
from cmfnet_napari.gui.shared.widgets import button, column

_HIDDEN = {"preset", "stroke_maps", "confidence"}  # chosen elsewhere, or a part of the model
_LARGEST = 2**31 - 1
_SHORT = {"ct": "CT", "mr": "MR", "crf": "CRF"}


class SettingsForm(QWidget):
    """The settings of a preset, folded away; what is changed here overrides the preset.

    Tuples are left to the command line's `--set`.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._preset: Config | None = None
        self._rows = QFormLayout()
        self._rows.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        reset = button("Back to the preset", self.reset, "Forget all changes")
        inside = QWidget()
        inside.setLayout(column(reset, self._rows))
        self.folded = QCollapsible("All settings")
        self.folded.setToolTip("Every number of the training, as the preset has it")
        self.folded.addWidget(inside)
        self.folded.toggleButton().pressed.connect(lambda: self.fields)
        layout = column(self.folded)
        layout.setContentsMargins(0, 0, 0, 0)
        self.setLayout(layout)

    @cached_property
    def fields(self) -> dict[str, ValueWidget]:
        """A widget a setting, made when they are first asked for: a third of the panel's time."""
        fields = {}
        for name, info in Config.model_fields.items():
            if name not in _HIDDEN and get_origin(info.annotation) is not tuple:
                widget = fields[name] = _make_widget(info)
                self._rows.addRow(_title(name, info), widget.native)
                self._fill(name, widget)
                widget.changed.connect(lambda _value: self.changed.emit())
        return fields

    @property
    def changes(self) -> dict[str, Any]:
        """Fields that differ from the preset, with their values."""
        if not self._made:
            return {}
        values = {name: _read(name, widget) for name, widget in self.fields.items()}
        return {n: value for n, value in values.items() if value != getattr(self._preset, n)}

    def show_preset(self, config: Config) -> None:
        """Show the values of a preset; changes of another one are forgotten."""
        if config == self._preset:
            self.changed.emit()
            return
        self._preset = config
        self.reset()

    def reset(self) -> None:
        """Forget all changes."""
        if self._made:
            with QSignalBlocker(self):
                for name, widget in self.fields.items():
                    self._fill(name, widget)
        self.changed.emit()

    @property
    def _made(self) -> bool:
        return "fields" in vars(self)

    def _fill(self, name: str, widget: ValueWidget) -> None:
        """Show the preset's value."""
        value = getattr(self._preset, name) or 0
        if isinstance(widget.native, QDoubleSpinBox):
            widget.native.setDecimals(_decimals(value))
        widget.value = value


def _make_widget(info: FieldInfo) -> ValueWidget:
    """A widget with the field's range, unit and help; where there may be no value, 0 says so."""
    kind, optional = _kind(info.annotation)
    options: dict[str, Any] = {"tooltip": f"{info.description}."}
    if kind in (int, float):
        low, high = _limits(info)
        options |= {"min": kind(0 if optional else low), "max": kind(high)}
    widget = create_widget(annotation=kind, options=options)
    if kind is float:
        widget.native.setSpecialValueText("none" if optional else "")
    return widget


def _decimals(value: float) -> int:
    """Two more than a value needs."""
    return max(2, -Decimal(repr(float(value))).normalize().as_tuple().exponent + 1)


def _title(name: str, info: FieldInfo) -> str:
    unit = (info.json_schema_extra or {}).get("unit")
    words = " ".join(_SHORT.get(word, word) for word in name.split("_"))
    words = words[0].upper() + words[1:]
    return f"{words}, {unit}" if unit else words


def _read(name: str, widget: ValueWidget) -> Any:
    """The value of a field; 0 of one that may have none is none."""
    optional = _kind(Config.model_fields[name].annotation)[1]
    return (widget.value or None) if optional else widget.value


def _kind(annotation: Any) -> tuple[Any, bool]:
    """The type without None, and whether None is allowed."""
    if not isinstance(annotation, types.UnionType):
        return annotation, False
    (kind,) = (part for part in get_args(annotation) if part is not types.NoneType)
    return kind, True


def _limits(info: FieldInfo) -> tuple[float, float]:
    low, high = 0.0, float(_LARGEST)
    for limit in info.metadata:
        match limit:
            case Ge():
                low = limit.ge
            case Gt():
                low = limit.gt
            case Le():
                high = limit.le
            case Lt():
                high = limit.lt
    return low, high
