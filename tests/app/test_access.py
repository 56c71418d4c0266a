"""The window without a mouse, without eyes for small print, and heard instead of seen."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QAccessible
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QHeaderView,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QProgressBar,
    QScrollBar,
    QTextEdit,
    QWidget,
)
from pytestqt.qtbot import QtBot

from app.experiments.page import LEAST_LETTERS
from app.panels.help_sheet import HelpSheet
from app.panels.plain import ElidedLabel
from app.theme import DARK, LIGHT, Theme, apply_theme, contrast, current_theme
from app.theme.palette import make_stylesheet
from app.window import MainWindow
from engine.graphs import AttributionGraph, NodeKind
from tests.app.test_experiments import keep, stored

CONTROLS = (
    *(QAbstractButton, QAbstractItemView, QAbstractSlider, QAbstractSpinBox, QComboBox, QLineEdit, QPlainTextEdit),
    *(QProgressBar, QTextEdit),
)


@pytest.fixture
def busy_window(open_window: MainWindow, graph: AttributionGraph) -> MainWindow:
    """A window of a common screen with something in every panel."""
    window = open_window
    one, two, three = (int(node) for node in graph.of_kind(NodeKind.FEATURE)[:3])
    window.registry.run("view.reset_layout")  # 1440 by 900, whatever the size of the screen
    window.activateWindow()
    window.edits.pin([one, two, three])
    window.edits.group([one, two], "cities")
    window.session.select(two)
    window.edits.label(two, "says Texas")
    window.registry.run("go.find")
    window.area.find_bar.line.setText("kind:feature")
    return window


@pytest.fixture
def experimenting(busy_window: MainWindow, graph: AttributionGraph) -> MainWindow:
    """The same with an experiment that is set up, and one that was run."""
    window = busy_window
    window.registry.run("experiment.change")
    keep(window, stored(graph, window.session.selected))
    return window


@pytest.fixture
def twice_as_large(busy_window: MainWindow) -> MainWindow:
    """The same with text of 200 %."""
    normal = busy_window.look._normal_size
    while busy_window.look.text_scale() < 1.99:
        before = busy_window.look.text_scale()
        busy_window.registry.run("view.larger")
        assert busy_window.look.text_scale() > before, "text of 200 % cannot be reached"
        QApplication.processEvents()
    assert QApplication.font().pointSizeF() == pytest.approx(2 * normal)
    for _ in range(5):
        QApplication.processEvents()
    return busy_window


def inside_another(widget: QWidget) -> bool:
    """Parts that Qt makes of its own controls: the control they are in has the name."""
    parent = widget.parentWidget()
    made_by_qt = widget.objectName().startswith("qt_") or isinstance(widget, QScrollBar | QHeaderView)
    made_by_qt = made_by_qt or (parent is not None and parent.inherits("QComboBoxPrivateContainer"))
    return made_by_qt or isinstance(parent, QAbstractSpinBox | QComboBox | QLineEdit | QAbstractItemView)


def every_control(window: MainWindow) -> Iterator[QWidget]:
    sheet = HelpSheet(window.registry, window)
    window.registry.run("trace.models")
    for widget in window.findChildren(QWidget):
        inside_menu = widget.parentWidget() is not None and widget.parentWidget().inherits("QMenuBar")
        if isinstance(widget, CONTROLS) and not inside_another(widget) and not inside_menu:
            yield widget
    sheet.close()
    if window.models.page is not None:
        window.models.page.close()


def test_every_control_has_a_name_for_those_who_hear_it(busy_window: MainWindow) -> None:
    count, nameless = 0, []
    for widget in every_control(busy_window):
        count += 1
        heard = QAccessible.queryAccessibleInterface(widget)
        if not heard.text(QAccessible.Text.Name).strip():
            nameless.append(f"{type(widget).__name__} {widget.objectName()} in {type(widget.parentWidget()).__name__}")
    assert count > 60
    assert not nameless, "\n".join(nameless)


def test_the_graph_and_its_parts_have_names(busy_window: MainWindow) -> None:
    for part in (busy_window.area.canvas, busy_window.connections.shares):
        assert part.accessibleName()


def test_tab_reaches_every_panel_and_comes_back(busy_window: MainWindow, qtbot: QtBot) -> None:
    window = busy_window
    window.registry.run("go.find_filters")
    start = window.prompt_bar.editor
    start.setFocus()
    qtbot.waitUntil(start.hasFocus)
    reached: list[QWidget] = []
    for _ in range(400):
        focused = QApplication.focusWidget()
        assert focused is not None
        if reached and focused is start:
            break
        reached.append(focused)
        qtbot.keyClick(focused, Qt.Key.Key_Tab)
    else:
        raise AssertionError(f"Tab does not come back: {[type(one).__name__ for one in reached[-6:]]}")
    for panel in window.panels():
        assert any(one is panel or panel.isAncestorOf(one) for one in reached), panel
    missed = [
        widget
        for widget in window.findChildren(QWidget)
        if isinstance(widget, CONTROLS)
        and widget.isVisible()
        and widget.isEnabled()
        and widget.focusPolicy() & Qt.FocusPolicy.TabFocus
        and not inside_another(widget)
        and widget not in reached
    ]
    # Of boxes one can choose among, Tab reaches one, arrows the others.
    missed = [one for one in missed if not (isinstance(one, QAbstractButton) and one.autoExclusive())]
    assert not missed, [(type(one).__name__, one.accessibleName(), one.objectName()) for one in missed]


def test_the_buttons_of_panels_take_the_keyboard(busy_window: MainWindow, qtbot: QtBot) -> None:
    dock = busy_window._docks["investigation"]
    title = dock.titleBarWidget()
    qtbot.keyClick(title.close_button, Qt.Key.Key_Space)  # type: ignore[attr-defined]
    assert not dock.isVisible()
    dock.toggleViewAction().trigger()
    assert dock.isVisible()
    qtbot.keyClick(title.float_button, Qt.Key.Key_Space)  # type: ignore[attr-defined]
    assert dock.isFloating()
    qtbot.keyClick(title.float_button, Qt.Key.Key_Space)  # type: ignore[attr-defined]
    assert not dock.isFloating()


# ---- colours -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("theme", [LIGHT, DARK, LIGHT.with_colour_blind_signs(), DARK.with_colour_blind_signs()])
def test_every_rule_of_the_style_sheet_is_legible(theme: Theme) -> None:
    checked = 0
    for selector, rule in re.findall(r"([^{}]+)\{([^{}]*)\}", make_stylesheet(theme)):
        parts = dict(re.findall(r"(?<![-\w])(background|color)\s*:\s*(#[0-9a-f]{6})", rule))
        if "color" not in parts or ":disabled" in selector:
            continue
        surfaces = [parts["background"]] if "background" in parts else [theme.window, theme.panel, theme.base]
        for surface in surfaces:
            checked += 1
            assert contrast(parts["color"], surface) >= 4.5, (selector.strip(), parts, surface)
    assert checked >= 4


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_of_the_window_is_legible(busy_window: MainWindow, qapp: QApplication, scheme: str) -> None:
    busy_window.registry.run(f"view.theme.{scheme}")
    busy_window.session.report_problem("graph", "Something went wrong; try again.", "help.show_log")
    pairs: dict[tuple[str, str], str] = {}
    for widget in busy_window.findChildren(QWidget):
        if not widget.isVisible() or not widget.isEnabled() or not isinstance(widget, (QLabel, *CONTROLS)):
            continue
        palette = widget.palette()
        role = palette.ColorRole.Text if isinstance(widget, QAbstractItemView) else widget.foregroundRole()
        back = palette.ColorRole.Base if isinstance(widget, QAbstractItemView) else widget.backgroundRole()
        pairs[palette.color(role).name(), palette.color(back).name()] = f"{type(widget).__name__} {widget.objectName()}"
    assert len(pairs) >= 4
    theme = current_theme()
    assert theme.name == scheme
    assert any(text == theme.error for text, _ in pairs), "the message of an error is not among them"
    for (text, surface), name in pairs.items():
        assert contrast(text, surface) >= 4.5, (name, text, surface)
    apply_theme(qapp, "light")


# ---- large text --------------------------------------------------------------------------------------------------


def clipped(widget: QWidget) -> str:
    """Why a widget does not show its text, or ""."""
    metrics, width, height = widget.fontMetrics(), widget.width(), widget.height()
    if isinstance(widget, QLabel) and widget.text():
        if not isinstance(widget, ElidedLabel) and not widget.wordWrap():
            need = metrics.horizontalAdvance(widget.text())
            if need > widget.contentsRect().width() + 1 and widget.minimumWidth() != 10:  # 10: shortened by its owner
                return f"{need} wide in {widget.contentsRect().width()}"
        need = widget.heightForWidth(width) if widget.wordWrap() else metrics.height()
        return f"{need} high in {height}" if need > height + 2 else ""
    if isinstance(widget, QAbstractButton | QComboBox | QAbstractSpinBox | QLineEdit):
        need = widget.sizeHint().height()
        if need > height + 2:
            return f"{need} high in {height}"
    if isinstance(widget, QAbstractButton) and widget.sizeHint().width() > width + 2:
        return f"{widget.sizeHint().width()} wide in {width}"
    return ""


def test_text_of_200_percent_is_not_clipped(twice_as_large: MainWindow) -> None:
    window = twice_as_large
    least = window.minimumSizeHint()
    assert least.width() <= 1440 and least.height() <= 900, least
    assert (window.width(), window.height()) == (1440, 900)
    checked, wrong = 0, []
    for widget in window.findChildren(QWidget):
        if not widget.isVisible() or inside_another(widget):
            continue
        checked += isinstance(widget, QLabel | QAbstractButton | QComboBox | QAbstractSpinBox | QLineEdit)
        reason = clipped(widget)
        if reason:
            text = getattr(widget, "text", str)()
            where = type(widget.parentWidget()).__name__
            wrong.append(f"{type(widget).__name__} {text or widget.accessibleName()!r} in {where}: {reason}")
    assert checked > 60
    assert not wrong, "\n".join(wrong)


def test_an_experiment_has_names_and_colours_and_room(experimenting: MainWindow, qapp: QApplication) -> None:
    test_every_control_has_a_name_for_those_who_hear_it(experimenting)
    for scheme in ("light", "dark"):
        test_every_text_of_the_window_is_legible(experimenting, qapp, scheme)
    page = experimenting.area.experiments
    while experimenting.look.text_scale() < 1.99:
        experimenting.registry.run("view.larger")
    for _ in range(5):
        QApplication.processEvents()
    least = experimenting.minimumSizeHint()
    assert least.width() <= 1440 and least.height() <= 900, least
    assert page.side.indexOf(page.results) == 2, "the form leaves too little room: the result is a tab"
    wrong, letter = [], page.fontMetrics().averageCharWidth()
    for tab in range(page.side.count()):
        page.side.setCurrentIndex(tab)
        QApplication.processEvents()
        for widget in page.findChildren(QWidget):
            if widget.isVisible() and not inside_another(widget):
                reason = clipped(widget)
                wrong += [f"{type(widget).__name__} {getattr(widget, 'text', str)()!r}: {reason}"] if reason else []
    assert not wrong, "\n".join(wrong)
    assert page.results.width() >= LEAST_LETTERS * letter
    while experimenting.look.text_scale() > 1.01:
        experimenting.registry.run("view.smaller")
    for _ in range(5):
        QApplication.processEvents()
    assert page.indexOf(page.results) == 1 and page.side.count() == 2, "beside the form again"
    assert page.results.isVisible()
    assert page.results.width() >= LEAST_LETTERS * page.fontMetrics().averageCharWidth()


def test_titles_of_panels_grow_with_the_text(twice_as_large: MainWindow) -> None:
    for dock in twice_as_large._docks.values():
        title = dock.titleBarWidget()
        if title is not None and title.isVisible():
            name = title.name  # type: ignore[attr-defined]
            assert name.font().pointSizeF() == QApplication.font().pointSizeF()
            assert name.fontMetrics().horizontalAdvance(name.text()) <= name.width()


def test_the_graph_keeps_most_of_the_window_at_200_percent(twice_as_large: MainWindow) -> None:
    canvas = twice_as_large.area.canvas
    assert canvas.width() >= 0.4 * 1440
    assert canvas.height() >= 120
    # With the circuit below it, too: what is between the headers holds some rows of nodes.
    graph = twice_as_large.session.graph
    assert graph is not None
    twice_as_large.edits.pin([int(node) for node in graph.of_kind(NodeKind.FEATURE)[:3]])
    twice_as_large.area.show_lower(twice_as_large.area.circuit)
    for _ in range(5):
        QApplication.processEvents()
    assert twice_as_large.height() <= 900
    assert canvas._surface.stage.inner.height() >= 2 * canvas.fontMetrics().height()
    assert twice_as_large.area.circuit.diagram.isVisible()
