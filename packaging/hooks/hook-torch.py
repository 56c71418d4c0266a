"""What of torch goes into the bundle: its libraries and the modules that are imported, not its headers and its tests.

Takes the place of the hook that PyInstaller's collection brings, which takes every submodule and every source file.
"""

from pathlib import Path

from PyInstaller.utils.hooks import PY_DYLIB_PATTERNS, collect_dynamic_libs, get_package_paths

# What torch finds by name at run time and not by an import that can be seen from outside.
hiddenimports = ["torch._C", "torch._VF", "torch.utils._config_module", "torch._native"]
binaries = collect_dynamic_libs("torch", search_patterns=[*PY_DYLIB_PATTERNS, "*.so.*"])
# Modules that read their own source when they are imported: settings, and overloads.
module_collection_mode = {
    f"torch.{name}": "pyz+py"
    for name in (
        "_export.config",
        "_functorch.config",
        "compiler.config",
        "distributed.config",
        "functional",
        "fx.experimental._config",
        "nn.functional",
        "nn.modules.rnn",
        "utils.serialization.config",
    )
}
# torch looks for this program when it is imported, and refuses without it.
_manager = Path(get_package_paths("torch")[1]) / "bin" / "torch_shm_manager"
if _manager.is_file():
    binaries.append((str(_manager), "torch/bin"))
# Links at the top would make torch look for its other libraries in the wrong place.
bindepend_symlink_suppression = ["**/torch/lib/*.so*"]
