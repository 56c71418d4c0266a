#!/bin/sh
# Puts Circuit Loupe into this user's menu and opens .loupe files with it. Run it where the archive was unpacked:
#   ./install.sh            ./install.sh --remove
set -eu
here=$(cd "$(dirname "$0")" && pwd)
data=${XDG_DATA_HOME:-$HOME/.local/share}
bin=$HOME/.local/bin
if [ "${1:-}" = "--remove" ]; then
  rm -f "$bin/circuit-loupe" "$data/applications/circuit-loupe.desktop" "$data/mime/packages/circuit-loupe.xml" \
    "$data/icons/hicolor/256x256/apps/circuit-loupe.png" "$data/icons/hicolor/256x256/mimetypes/application-x-circuit-loupe.png"
else
  mkdir -p "$bin" "$data/applications" "$data/mime/packages" "$data/icons/hicolor/256x256/apps" \
    "$data/icons/hicolor/256x256/mimetypes"
  ln -sf "$here/circuit-loupe" "$bin/circuit-loupe"
  sed "s|^Exec=.*|Exec=\"$here/circuit-loupe\" %f|" "$here/share/circuit-loupe.desktop" \
    > "$data/applications/circuit-loupe.desktop"
  cp "$here/share/circuit-loupe.xml" "$data/mime/packages/"
  cp "$here/share/circuit-loupe.png" "$data/icons/hicolor/256x256/apps/"
  cp "$here/share/circuit-loupe.png" "$data/icons/hicolor/256x256/mimetypes/application-x-circuit-loupe.png"
fi
command -v update-mime-database >/dev/null && update-mime-database "$data/mime" >/dev/null 2>&1 || true
command -v update-desktop-database >/dev/null && update-desktop-database "$data/applications" >/dev/null 2>&1 || true
