"""The native engine's part of the build; all else stands in pyproject.toml.

Where there is no Rust, or no registry of crates, the package is installed without the engine, and
rdbtools serves in its place. REQUIRE_NATIVE=1 makes that an error.
"""

import os
import sys
from pathlib import Path

from setuptools import setup
from setuptools_rust import Binding, RustExtension, build_rust

sys.path.insert(0, str(Path(__file__).parent / "exporter" / "native"))
from toolchain import NoRust, find, required


class BuildNative(build_rust):
    """Never a silent half: the engine is built, or it is said why not and nothing old is left."""

    def run(self) -> None:
        try:
            rust = find()
        except NoRust as missing:
            self._go_without(str(missing))
            return
        os.environ["PATH"] = f"{rust}{os.pathsep}{os.environ.get('PATH', '')}"
        # Not by setup(options=...): editable installations lose it.
        self.get_finalized_command("bdist_wheel").py_limited_api = "cp311"
        super().run()

    def run_for_extension(self, extension: RustExtension) -> None:
        try:
            super().run_for_extension(extension)
        except Exception as error:  # noqa: BLE001 - whatever stops it, rdbtools can serve
            print(error, file=sys.stderr)  # noqa: T201 - the output of a build
            unset = "; install without it: unset REQUIRE_NATIVE" if required() else ""
            self._go_without(f"the native engine could not be built, see above{unset}")

    def _go_without(self, why: str) -> None:
        if required():
            raise SystemExit(f"error: {why}")
        print(f"warning: {why}; the rdbtools engine serves", file=sys.stderr)  # noqa: T201
        for extension in self.extensions:
            # One built from other sources would be taken for this one's.
            built = Path(self.get_dylib_ext_path(extension, extension.name))
            for old in built.parent.glob("_native.*.so"):
                old.unlink()
        # What is left runs anywhere, and its wheel must not look as if the engine were in it.
        self.distribution.has_ext_modules = lambda: False
        self.get_finalized_command("bdist_wheel").root_is_pure = True


if required():
    try:
        find()
    except NoRust as missing:
        # At once, and as the only line that pip has to show.
        raise SystemExit(f"error: {missing}") from None

setup(
    cmdclass={"build_rust": BuildNative},
    rust_extensions=[
        RustExtension(
            "exporter._native",
            path="exporter/native/Cargo.toml",
            binding=Binding.PyO3,
            cargo_manifest_args=["--locked"],
            debug=False,  # an editable installation would get a slow one
        )
    ],
)
