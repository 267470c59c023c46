"""Ask OpenGL who draws: run as a process of its own, since a driver may crash or hang.

``python -m cmfnet_napari.gui.opengl`` prints one JSON object with ``renderer``, ``version`` and
``max_3d_texture`` (voxels along an axis that can be shown at once in 3D).
"""

from __future__ import annotations

import json

_DEBIAN = "On Debian and Ubuntu install: libgl1 libegl1 libxcb-cursor0 libxkbcommon-x11-0. "
_WINDOWS = "Install the Microsoft Visual C++ Redistributable (x64). "


def last_words(stderr: str) -> str:
    """The line that says why a program ended: Qt says it first, Python last; empty: none does."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()] or [""]
    return lines[-1] if lines[0].startswith("Traceback") else lines[0]


def advice(reason: str) -> str:
    """What to install when a reason names a missing library of the system; empty: it does not."""
    if "dll" in reason.lower() or "WinError" in reason:
        return _WINDOWS
    return _DEBIAN if ".so" in reason or "is needed to load" in reason else ""


def main() -> None:
    """Make an invisible OpenGL context, as the window will, and print what it says of itself."""
    from qtpy.QtGui import QOffscreenSurface, QOpenGLContext
    from qtpy.QtWidgets import QApplication
    from vispy.gloo import gl

    application = QApplication([])
    surface, context = QOffscreenSurface(), QOpenGLContext()
    surface.create()
    if not context.create() or not context.makeCurrent(surface):
        raise SystemExit(f"no OpenGL with the {application.platformName()} display")
    max_3d_texture = 0x8073  # GL_MAX_3D_TEXTURE_SIZE, which vispy does not name
    facts = {
        "renderer": gl.glGetParameter(gl.GL_RENDERER),
        "version": gl.glGetParameter(gl.GL_VERSION),
        "max_3d_texture": int(gl.glGetParameter(max_3d_texture)),
    }
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    main()
