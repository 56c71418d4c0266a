"""Palettes, icons, and the one place that dresses the application."""

from app.theme.icons import icon, icon_names, icon_pixmap
from app.theme.style import SCHEMES, ThemeWatcher, apply_theme, current_theme, theme_watcher
from app.theme.tokens import DARK, LIGHT, Theme, contrast, luminance, text_on

__all__ = [
    "DARK",
    "LIGHT",
    "SCHEMES",
    "Theme",
    "ThemeWatcher",
    "apply_theme",
    "contrast",
    "current_theme",
    "icon",
    "icon_names",
    "icon_pixmap",
    "luminance",
    "text_on",
    "theme_watcher",
]
