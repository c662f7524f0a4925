"""The commands and their exit codes.

Knows: how a command line becomes a call, and a result becomes lines and an exit code. Refuses to
know: how anything is done. Rooms are imported by the command that needs them: a probe every few
seconds must not load them all.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NoReturn

import click

from exporter.model import UNVERIFIED, Status, VerifyPolicy
from exporter.terminal import plain

if TYPE_CHECKING:
    from exporter.verify.engines import Depth

OK = 0
NOT_VALID = 1
USAGE = 2
NOT_VERIFIED = 3
LOOP_DIED = 70
NOT_WRITTEN = 74
"""EX_IOERR of sysexits(3): the result is not known to whoever reads our output."""
INTERRUPTED = 130

_PROBE_SECONDS = 4.0

Flags = dict[str, str]


def main(args: Sequence[str] | None = None) -> NoReturn:
    """The entry point; leaves the process with the exit code of the command."""
    try:
        code = cli.main(args=args, prog_name="redis-backup-exporter", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else str(error), err=True)
        code = USAGE
    except click.ClickException as error:
        error.show()
        context = error.ctx if isinstance(error, click.UsageError) else None
        # Container runtimes know no other failure of a probe than 1.
        code = NOT_VALID if context and context.command.name == "healthcheck" else USAGE
    except (click.Abort, KeyboardInterrupt):
        code = INTERRUPTED
    except SystemExit:
        code = NOT_WRITTEN  # click's answer to a reader that closed the pipe
    except OSError as error:
        # A report that nobody could read is no verdict: 1 would say that a backup is bad.
        code = NOT_WRITTEN
        with contextlib.suppress(OSError, AttributeError, ValueError):
            click.echo(f"error: output failed: {error.strerror or error}", err=True)
    _leave(code)


def _leave(code: int) -> NoReturn:
    """Exits with ``code``, also where what was printed can't be written out."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        code = NOT_WRITTEN if code in {OK, NOT_VALID, NOT_VERIFIED} else code
        # The interpreter would try once more at exit, and change the code to 120.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


class SettingsCommand(click.Command):
    """A command that takes every setting as a flag, and no arguments."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["context_settings"] = {"allow_extra_args": True}
        super().__init__(*args, **kwargs)
        self._flags: list[click.Parameter] = []

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The flags, made when they are needed: other commands must not wait for all settings."""
        if not self._flags:
            self._flags = list(self._settings_flags())
        own = super().get_params(ctx)
        return [*own[:-1], *self._flags, own[-1]]

    def _settings_flags(self) -> Iterator[click.Parameter]:
        from exporter.settings import KEYS, Place  # noqa: PLC0415

        for key in KEYS:
            switch: dict[str, Any] = (
                {"is_flag": False, "flag_value": "true"} if key.kind.startswith("true") else {}
            )
            default = f" [default: {key.default}]" if key.default else ""
            yield click.Option(
                [key.name.replace(".", "__"), key.flag],
                metavar=key.kind.replace("\\", "").replace(" ", "").upper(),
                help=key.help + default,
                # Known all the same, to be refused with the remedy.
                hidden=Place.FLAG not in key.places,
                **switch,
            )

    def invoke(self, ctx: click.Context) -> Any:
        """Calls the command with the flags that were given, by key name."""
        if ctx.args:
            # They are not repeated: a URL that slipped out of its flag can hold a secret.
            raise click.UsageError(
                f"{len(ctx.args)} argument(s) too many: settings are flags, like --backup.dir DIR",
                ctx,
            )
        flags = {
            name.replace("__", "."): value
            for name, value in ctx.params.items()
            if value is not None
        }
        assert self.callback is not None
        return ctx.invoke(self.callback, flags)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("redis-backup-exporter"))
def cli() -> None:
    """Proves Redis and Valkey backups, exports the verdict, relays a heartbeat while green."""


def _load(flags: Flags) -> Any:
    """The settings, or exit code 2 with every error on stderr."""
    from exporter.settings import SettingsError, load  # noqa: PLC0415

    try:
        return load(flags, os.environ, flags.get("config.file"))
    except SettingsError as error:
        for problem in error.problems:
            click.echo(f"error: {problem}", err=True)
        raise click.exceptions.Exit(USAGE) from None


@cli.command(cls=SettingsCommand)
def run(flags: Flags) -> int:
    """The sidecar: watch, prove, export, relay; until SIGTERM.

    Every setting is also an environment variable (--backup.dir is RBE_BACKUP_DIR) and a key of the
    file of --config.file.
    """
    import structlog  # noqa: PLC0415

    from exporter.publish import logs  # noqa: PLC0415

    settings = _load(flags)
    logs.configure(settings.log_level, settings.log_format, settings.secrets())
    log = structlog.get_logger()
    try:
        from exporter import daemon  # noqa: PLC0415

        return int(daemon.run(settings))
    except Exception:
        log.exception("process.crashed")
        return LOOP_DIED


class CheckCommand(SettingsCommand):
    """The settings, and ``--json``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(
            click.Option(["as_json", "--json"], is_flag=True, default=None, help="One JSON object.")
        )


@cli.command("check", cls=CheckCommand, short_help="One whole assessment, check by check.")
def assess(flags: dict[str, Any]) -> int:
    """One whole assessment, check by check: 0 protected, 1 at risk, 2 settings, 3 unknown.

    Looks twice (the settle time apart), reads the newest backups that the state does not hold as
    proven, sends no heartbeat, and may run beside the sidecar.
    """
    from exporter.daemon import checkup  # noqa: PLC0415
    from exporter.publish import logs  # noqa: PLC0415
    from exporter.verify.engines import EngineUnavailable  # noqa: PLC0415

    as_json = bool(flags.pop("as_json", False))
    settings = _load(flags)
    logs.configure("error", settings.log_format, settings.secrets())
    try:
        return checkup.run(settings, as_json=as_json, echo=click.echo)
    except EngineUnavailable as error:
        raise click.UsageError(str(error)) from None


@cli.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("as_json", "--json", is_flag=True, help="One JSON object a file, one a line.")
@click.option(
    "engine_name",
    "--engine",
    type=click.Choice(["auto", "native", "rdbtools"]),
    default="auto",
    show_default=True,
    help="What reads the files.",
)
@click.option(
    "--depth",
    type=click.Choice(["checksum", "structure", "full"]),
    default="full",
    show_default=True,
    help="How much is proven: the bytes; every value's bounds; the insides of values and that no "
    "key comes twice. The rdbtools engine always proves structure.",
)
@click.option(
    "--max-rate",
    metavar="SIZE",
    default="0",
    help="How fast files are read at most, like 50MiB a second.  [default: no limit]",
)
def verify(
    files: tuple[str, ...], as_json: bool, engine_name: str, depth: Depth, max_rate: str
) -> int:
    """Proves RDB files, also gzip, zstd, lz4, xz and bzip2 compressed ones; - is stdin.

    Exit code 0: all valid. 1: some are not. 3: some could not be verified, and none is invalid.
    """
    from exporter import verification  # noqa: PLC0415
    from exporter.verify.engines import EngineUnavailable, engine, fallback  # noqa: PLC0415

    for path in files:
        if path != "-" and os.path.isdir(path):  # noqa: PTH112 - as given, also not UTF-8
            raise click.UsageError(f"{plain(path)} is a directory: name RDB files")
    if files.count("-") > 1:
        raise click.UsageError("stdin (-) can be read once only")
    try:
        chosen = engine(engine_name)
    except EngineUnavailable as error:
        raise click.UsageError(str(error)) from None
    policy = _verify_policy(max_rate)
    lesser = fallback(engine_name, chosen)
    if lesser is not None:
        click.echo(f"warning: {lesser}", err=True)
    statuses = verification.run(files, chosen, policy, depth=depth, as_json=as_json)
    return INTERRUPTED if statuses is None else _exit_code(statuses)


def _verify_policy(max_rate: str) -> VerifyPolicy:
    if max_rate == "0":
        return VerifyPolicy()
    from exporter.settings import units  # noqa: PLC0415 - all the settings come with it

    try:
        return VerifyPolicy(max_rate_bytes_per_second=units.max_rate(max_rate))
    except units.WrongValue as error:
        raise click.BadParameter(str(error), param_hint="--max-rate") from None


def _exit_code(statuses: set[Status]) -> int:
    unproven = UNVERIFIED | {Status.UNSUPPORTED_VERSION}
    if statuses - unproven - {Status.VALID}:
        return NOT_VALID
    return NOT_VERIFIED if statuses & unproven else OK


@cli.command(cls=SettingsCommand)
def healthcheck(flags: Flags) -> int:
    """For container probes: 0 if the sidecar on web.listen_address answers and its loop lives.

    A probe is a process of its own: where the sidecar has its address from a flag, give the same
    flag here; an environment variable or a file is seen by both.
    """
    from exporter.settings import SettingsError, load_listen_address  # noqa: PLC0415

    try:
        address = load_listen_address(flags, os.environ, flags.get("config.file"))
    except SettingsError as error:
        click.echo(f"error: {error}", err=True)
        return NOT_VALID
    loopback = {"": ("127.0.0.1", "::1"), "0.0.0.0": ("127.0.0.1",), "::": ("::1", "127.0.0.1")}  # noqa: S104
    said = ""
    for host in loopback.get(address.host, (address.host,)):
        status, said = _ask(host, address.port)
        if status == http.client.OK:
            return OK
        if status is not None:
            break
    click.echo(f"unhealthy: {said}", err=True)
    return NOT_VALID


def _ask(host: str, port: int) -> tuple[int | None, str]:
    """Status of the health path, or None and why there is none. Proxies are never asked."""
    connection = http.client.HTTPConnection(host, port, timeout=_PROBE_SECONDS)
    try:
        connection.request("GET", "/-/healthy", headers={"Connection": "close"})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return None, f"no answer from {host} port {port} ({type(error).__name__})"
    else:
        return status, f"{host} port {port} answered {status}"
    finally:
        connection.close()


@cli.group()
def config() -> None:
    """Looks at the settings without starting anything."""


@config.command(cls=SettingsCommand)
def check(flags: Flags) -> int:
    """Says all that is wrong with the settings; exit code 0 or 2."""
    settings = _load(flags)
    for warning in settings.warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo(f"The settings are right: {len(settings.policy.locations)} location(s).")
    return OK


@config.command(cls=SettingsCommand)
def show(flags: Flags) -> int:
    """Prints the settings in force and where each comes from, secrets masked."""
    settings = _load(flags)
    for warning in settings.warnings:
        click.echo(f"warning: {warning}", err=True)
    wide = max(len(line.key) for line in settings.shown)
    for line in settings.shown:
        click.echo(plain(f"{line.key:<{wide}}  {line.value}  ({line.source})"))
    return OK


@cli.command()
@click.option(
    "--inject",
    type=click.Choice(["truncate", "flip", "stop", "empty"]),
    help="After the first green: cut a copy, flip a bit, stop the copies, empty the data.",
)
@click.option("--listen-address", default="127.0.0.1:19121", show_default=True, metavar="HOST:PORT")
@click.option("--interval", metavar="DURATION", help="Time between two backups.")
@click.option(
    "--seconds", type=click.FloatRange(min=1), help="End by itself after so many seconds."
)
def demo(
    inject: str | None, listen_address: str, interval: str | None, seconds: float | None
) -> int:
    """An embedded server, traffic, backups, everything on, and faults to inject."""
    from exporter.jobs import demo as job  # noqa: PLC0415
    from exporter.settings.units import WrongValue, duration  # noqa: PLC0415

    try:
        given = {} if interval is None else {"interval_seconds": duration(1.0)(interval)}
    except WrongValue as error:
        raise click.BadParameter(str(error), param_hint="--interval") from None
    return int(job.run(listen_address=listen_address, inject=inject, seconds=seconds, **given))
