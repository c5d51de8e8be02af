"""Errors of operating the daemon: settings, data files, units.

ZvmdError
├── InvalidSetting             settings.invalid    a value is out of range or of the wrong kind
│   ├── UnknownSetting         settings.unknown    a section or key that does not exist
│   └── LibraryMissing         settings.library    the QUIC library is not installed
├── UnreadableSettings         settings.file       zvmd.toml is missing or is not TOML
├── ResourceMissing            install.resource    a data file is not in the installation
└── UnitsNotInstalled          systemd.install     a unit file could not be written
"""

from __future__ import annotations

from chain.errors import EXIT_CONFIG, ZvmdError


class InvalidSetting(ZvmdError):
    """A setting's value cannot be used."""

    code = "settings.invalid"
    rpc_code = -32602
    hint = "see `zvmd config init --stdout` for every setting with its type and default"
    exit_code = EXIT_CONFIG


class UnknownSetting(InvalidSetting):
    """A setting or section of this name does not exist."""

    code = "settings.unknown"


class LibraryMissing(InvalidSetting):
    """The QUIC library in the settings is not installed, too old or damaged."""

    code = "settings.library"
    hint = "install it, for aioquic: pip install 'zvmd[aioquic]'; or leave [quic] library out"


class UnreadableSettings(ZvmdError):
    """The settings file cannot be read or is not TOML."""

    code = "settings.file"
    hint = "check the file; `zvmd config init` writes an annotated one"
    exit_code = EXIT_CONFIG


class ResourceMissing(ZvmdError):
    """A data file that belongs to zvmd is not in the installation."""

    code = "install.resource"
    hint = "install zvmd again; the installation is incomplete"


class UnitsNotInstalled(ZvmdError):
    """A systemd file could not be written."""

    code = "systemd.install"
    hint = "run as root, or use --user for your own units"
