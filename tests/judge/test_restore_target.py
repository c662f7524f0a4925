"""The check ``restore_target``: what a file needs beside what the server has, or was said to have."""

from __future__ import annotations

from typing import Any

import pytest

from exporter.judge.modules import MODULES_OF, Loads, loads
from exporter.model import (
    CheckId,
    CheckMode,
    Dialect,
    Needs,
    Outcome,
    Reason,
    RestoreTarget,
    Status,
    UnsupportedMode,
    VerdictState,
    VerifyPolicy,
)
from tests.judge.builders import NOW, judged, known, report, result, server, unseen

FAIL, WARN, PASS, UNKNOWN, SKIP = (
    Outcome.FAIL, Outcome.WARN, Outcome.PASS, Outcome.UNKNOWN, Outcome.SKIP,
)  # fmt: skip
TOO_OLD, UNTOLD = Reason.TARGET_VERSION_TOO_OLD, Reason.TARGET_UNKNOWN
DENIED = unseen(Reason.REDIS_COMMAND_DENIED)
LOADING = unseen(Reason.REDIS_LOADING)


def outcome(found: Any, **how: Any) -> tuple[Outcome, Reason | None]:
    came = result(CheckId.RESTORE_TARGET, known(found=found), **how)
    return came.outcome, came.reason


def needing(*modules: str, **needs: Any) -> Any:
    return report(needs=Needs(modules=modules, **needs))


def aiming(**said: Any) -> dict[str, Any]:
    return {"restore_target": RestoreTarget(**said)}


# -- versions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dialect", "version", "dump", "expected"),
    [
        ("redis", "2.4.18", 2, (PASS, None)), ("redis", "2.4.18", 6, (FAIL, TOO_OLD)),
        ("redis", "2.8.24", 6, (PASS, None)), ("redis", "3.0.7", 7, (FAIL, TOO_OLD)),
        ("redis", "3.2.13", 7, (PASS, None)), ("redis", "3.2.13", 8, (FAIL, TOO_OLD)),
        ("redis", "4.0.14", 8, (PASS, None)), ("redis", "4.0.14", 9, (FAIL, TOO_OLD)),
        ("redis", "6.2.16", 9, (PASS, None)), ("redis", "6.2.16", 10, (FAIL, TOO_OLD)),
        ("redis", "7.0.15", 10, (PASS, None)), ("redis", "7.0.15", 11, (FAIL, TOO_OLD)),
        ("redis", "7.2.6", 11, (PASS, None)), ("redis", "7.2.6", 12, (FAIL, TOO_OLD)),
        ("redis", "7.4.1", 12, (PASS, None)), ("redis", "7.4.1", 13, (FAIL, TOO_OLD)),
        ("redis", "8.2.3", 12, (PASS, None)), ("redis", "8.2.3", 13, (FAIL, TOO_OLD)),
        ("redis", "8.4.0", 12, (PASS, None)), ("redis", "8.4.0", 13, (SKIP, UNTOLD)),
        ("redis", "8.4.0", 14, (FAIL, TOO_OLD)),
        ("redis", "8.6.3", 13, (PASS, None)), ("redis", "8.6.3", 14, (FAIL, TOO_OLD)),
        ("redis", "8.8.0", 14, (PASS, None)), ("redis", "8.8.0", 15, (FAIL, TOO_OLD)),
        ("redis", "8.10.2", 15, (PASS, None)), ("redis", "8.10.2", 2, (PASS, None)),
        ("redis", "8.10.2", 80, (FAIL, TOO_OLD)), ("redis", "9.0.0", 15, (PASS, None)),
        ("redis", "7.3.240", 12, (SKIP, UNTOLD)), ("redis", "7.3.240", 11, (PASS, None)),
        ("redis", "255.255.255", 15, (PASS, None)), ("redis", None, 11, (SKIP, UNTOLD)),
        ("redis", "unstable", 11, (SKIP, UNTOLD)), ("redis", "2.2.0", 2, (SKIP, UNTOLD)),
        ("valkey", "7.2.7", 11, (PASS, None)), ("valkey", "7.2.7", 12, (FAIL, TOO_OLD)),
        ("valkey", "8.1.8", 11, (PASS, None)), ("valkey", "8.1.8", 80, (FAIL, TOO_OLD)),
        ("valkey", "9.1.2", 80, (PASS, None)), ("valkey", "9.1.2", 11, (PASS, None)),
        ("valkey", "9.1.2", 12, (FAIL, TOO_OLD)), ("valkey", "9.0.0", 15, (FAIL, TOO_OLD)),
        ("valkey", "10.0.0", 12, (SKIP, UNTOLD)), ("valkey", "10.0.0", 80, (PASS, None)),
        ("dragonfly", "1.30.0", 9, (SKIP, UNTOLD)), (None, "7.2.6", 11, (SKIP, UNTOLD)),
    ],
)  # fmt: skip
def test_each_server_loads_what_it_loads(
    dialect: str | None, version: str | None, dump: int, expected: Any
) -> None:
    """The watched server says so, and where there is one, a configured version too."""
    watched = server(dialect=dialect, version=version)
    assert outcome(report(rdb_version=dump), watched=watched) == expected


@pytest.mark.parametrize(
    ("kind", "version", "dump", "expected"),
    [
        (Dialect.REDIS, (7, 0), 10, PASS), (Dialect.REDIS, (7, 0), 11, FAIL),
        (Dialect.VALKEY, (9, 1), 80, PASS), (Dialect.VALKEY, (9, 1), 12, FAIL),
        (Dialect.VALKEY, (8, 1), 11, PASS), (None, (7, 2), 11, PASS), (None, (7, 0), 11, FAIL),
    ],
)  # fmt: skip
def test_a_described_target_needs_no_connection(
    kind: Dialect | None, version: tuple[int, int], dump: int, expected: Outcome
) -> None:
    said = aiming(server=kind, version=version)
    assert outcome(report(rdb_version=dump), policy=said)[0] is expected


def test_valkey_that_is_told_to_try_foreign_dumps_is_not_called_too_old() -> None:
    config = {"databases": "16", "rdb-version-check": "relaxed"}
    watched = server(dialect="valkey", version="9.1.2", config=config)
    assert outcome(report(rdb_version=12), watched=watched) == (SKIP, UNTOLD)


def test_a_dump_of_valkey_8_is_known_by_its_magic_and_not_by_its_writer() -> None:
    found = report(rdb_version=11, dialect=Dialect.VALKEY, server_version="8.1.8")
    assert outcome(found, watched=server(version="7.2.6")) == (PASS, None)


def test_what_is_said_wins_field_by_field() -> None:
    watched = server(version="8.10.2", config={"databases": "4"}, modules=frozenset({"ReJSON"}))
    found = report(
        rdb_version=11, keys_by_db={0: (1, 0), 9: (1, 0)}, needs=Needs(modules=("ReJSON-RL",))
    )
    assert outcome(found, watched=watched) == (FAIL, Reason.DATABASES_TOO_FEW)
    assert outcome(found, watched=watched, policy=aiming(databases=16)) == (PASS, None)
    older = aiming(server=Dialect.REDIS, version=(7, 0), databases=16)
    assert outcome(found, watched=watched, policy=older) == (FAIL, TOO_OLD)
    bare = aiming(databases=16, modules=frozenset())
    assert outcome(found, watched=watched, policy=bare) == (FAIL, Reason.MODULE_REQUIRED)


def test_a_target_of_another_kind_takes_nothing_from_the_watched_server() -> None:
    """Its modules and databases are another machine's."""
    watched = server(modules=frozenset({"ReJSON"}), config={"databases": "1"})
    said = aiming(server=Dialect.VALKEY, version=(8, 1))
    assert outcome(needing("ReJSON-RL"), watched=watched, policy=said) == (SKIP, UNTOLD)
    assert outcome(report(keys_by_db={5: (1, 0)}), watched=watched, policy=said) == (PASS, None)


# -- modules ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "module"),
    [
        ("ReJSON-RL", "ReJSON"), ("ReJSON-RL", "json"), ("MBbloom--", "bf"), ("MBbloomCF", "bf"),
        ("CMSk-TYPE", "bf"), ("TopK-TYPE", "bf"), ("TDIS-TYPE", "bf"), ("TSDB-TYPE", "timeseries"),
        ("ft_index0", "search"), ("ft_invidx", "ft"), ("trietype0", "search"),
        ("graphdata", "graph"), ("graphmeta", "graph"), ("GearsType", "redisgears_2"),
        ("AI_TENSOR", "ai"), ("vectorset", "vectorset"), ("hellotype", "hellotype"),
        ("hellotype", "HelloWorld"), ("MyType-01", "mytype"),
    ],
)  # fmt: skip
def test_types_are_found_at_the_module_that_has_them(kind: str, module: str) -> None:
    with_it = server(version="7.4.1", modules=frozenset({"other", module}))
    assert outcome(needing(kind), watched=with_it) == (PASS, None)
    without = server(version="7.4.1", modules=frozenset())
    assert outcome(needing(kind), watched=without) == (FAIL, Reason.MODULE_REQUIRED)


@pytest.mark.parametrize("kind", sorted(MODULES_OF))
def test_every_known_type_is_nine_letters_and_missed_where_its_module_is_missing(
    kind: str,
) -> None:
    assert len(kind) == 9
    assert loads(kind, {"something-else"}, "redis") is Loads.NO
    assert loads(kind, {kind}, None) is Loads.YES


@pytest.mark.parametrize(
    ("kind", "dialect", "module", "expected"),
    [
        ("bloomfltr", "valkey", "bf", Loads.YES),
        ("bloomfltr", "redis", "bf", Loads.UNTOLD),
        ("MBbloom--", "valkey", "bf", Loads.UNTOLD),
        ("MBbloom--", "redis", "bf", Loads.YES),
        ("ft_index0", "valkey", "search", Loads.UNTOLD),
        ("SchMgr-VS", "valkey", "search", Loads.YES),
        ("ReJSON-RL", "valkey", "json", Loads.YES),
        ("strangest", "redis", "bf", Loads.UNTOLD),
        ("strangest", "valkey", "lua", Loads.NO),
    ],
)
def test_modules_that_share_a_name_are_not_taken_for_one_another(
    kind: str, dialect: str, module: str, expected: Loads
) -> None:
    assert loads(kind, {module}, dialect) is expected


@pytest.mark.parametrize(
    ("modules", "expected"),
    [
        (frozenset({"bf"}), (UNKNOWN, Reason.MODULE_UNKNOWN)),
        (frozenset(), (FAIL, Reason.MODULE_REQUIRED)),
        (frozenset({"lua"}), (FAIL, Reason.MODULE_REQUIRED)),
        (DENIED, (SKIP, Reason.REDIS_COMMAND_DENIED)),
        (LOADING, (UNKNOWN, Reason.REDIS_LOADING)),
        (unseen(Reason.REDIS_TIMEOUT), (UNKNOWN, Reason.REDIS_TIMEOUT)),
        (None, (SKIP, UNTOLD)),
    ],
)
def test_an_unknown_type_is_no_failure_where_it_cant_be_told(modules: Any, expected: Any) -> None:
    assert outcome(needing("strangest"), watched=server(modules=modules)) == expected
    assert outcome(report(), watched=server(modules=modules)) == (PASS, None)


def test_the_name_of_a_type_can_be_written_down_for_a_module_that_nobody_knows() -> None:
    said = aiming(modules=frozenset({"bf", "strangest"}))
    assert outcome(needing("strangest"), watched=server(), policy=said) == (PASS, None)


@pytest.mark.parametrize(
    ("dialect", "version", "modules", "expected"),
    [
        ("redis", "8.0.6", frozenset({"vectorset"}), PASS),
        ("redis", "8.2.3", DENIED, PASS),
        ("redis", "7.4.1", frozenset({"bf"}), FAIL),
        ("redis", "7.4.1", DENIED, SKIP),
        ("redis", "7.4.1", None, FAIL),
        ("redis", "7.9.240", frozenset({"vectorset"}), PASS),
        ("valkey", "9.1.2", frozenset({"lua"}), FAIL),
        ("valkey", "9.1.2", DENIED, SKIP),
    ],
)
def test_vector_sets_are_in_redis_8_itself(
    dialect: str, version: str, modules: Any, expected: Outcome
) -> None:
    """7.4 and 8.0 write the same version, and 7.4's own check tool says OK to vector sets."""
    watched = server(dialect=dialect, version=version, modules=modules)
    assert outcome(needing("vectorset"), watched=watched)[0] is expected


# -- databases, cluster, memory ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "needed", "dbs", "expected"),
    [
        ({"databases": "16"}, 16, (0, 15), (PASS, None)),
        ({"databases": "16"}, 17, (0,), (FAIL, Reason.DATABASES_TOO_FEW)),
        ({"databases": "64"}, 17, (0,), (PASS, None)),
        ({"databases": "4"}, 16, (0, 3), (PASS, None)),
        ({"databases": "4"}, 16, (0, 4), (FAIL, Reason.DATABASES_TOO_FEW)),
        ({"databases": "1"}, 16, (), (PASS, None)),
        ({"databases": DENIED}, 16, (0, 7), (PASS, None)),
        ({"databases": DENIED}, 17, (0,), (SKIP, Reason.REDIS_COMMAND_DENIED)),
        ({}, 17, (0,), (SKIP, UNTOLD)),
        ({"databases": "many"}, 17, (0,), (SKIP, UNTOLD)),
        ({"databases": unseen(Reason.REDIS_TIMEOUT)}, 17, (0,), (UNKNOWN, Reason.REDIS_TIMEOUT)),
    ],
)
def test_databases_are_counted_as_used(
    config: Any, needed: int, dbs: tuple[int, ...], expected: Any
) -> None:
    """``needs`` begins at the usual 16; a server may have fewer, and a file use fewer."""
    found = report(keys_by_db=dict.fromkeys(dbs, (1, 0)), needs=Needs(databases=needed))
    assert outcome(found, watched=server(config=config)) == expected


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ("4", (PASS, None)),
        ("2", (FAIL, Reason.DATABASES_TOO_FEW)),
        (unseen(Reason.FIELD_ABSENT), (FAIL, Reason.DATABASES_TOO_FEW)),
        (DENIED, (PASS, None)),
    ],
)
def test_a_cluster_node_has_one_database_or_a_setting_of_its_own(own: Any, expected: Any) -> None:
    """Redis 7.0 and Valkey 9.1 both die of a second one, though ``databases`` says 16."""
    config = {"databases": "16", "cluster-databases": own}
    node = server(dialect="valkey", version="9.1.2", mode="cluster", cluster=True, config=config)
    alone = server(dialect="valkey", version="9.1.2", config=config)
    found = report(keys_by_db={3: (1, 0)})
    assert outcome(found, watched=node) == expected
    assert outcome(found, watched=alone) == (PASS, None)
    assert outcome(report(keys_by_db={0: (1, 0)}), watched=node) == (PASS, None)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"cluster": True}, (PASS, None)),
        ({"cluster": False}, (FAIL, Reason.CLUSTER_REQUIRED)),
        ({"cluster": None, "mode": "cluster"}, (PASS, None)),
        ({"cluster": None, "mode": None}, (SKIP, UNTOLD)),
    ],
)
def test_a_slot_migration_needs_a_cluster_node(facts: Any, expected: Any) -> None:
    found = report(rdb_version=80, dialect=Dialect.VALKEY, needs=Needs(cluster=True))
    watched = server(dialect="valkey", version="9.1.2", **facts)
    assert outcome(found, watched=watched) == expected


@pytest.mark.parametrize(
    ("announced", "version", "memory", "expected"),
    [
        (1 << 40, "7.2.6", str(8 << 30), (FAIL, Reason.MEMORY_REQUIRED)),
        (1 << 20, "7.2.6", str(8 << 30), (PASS, None)),
        (1 << 40, "7.2.6", None, (WARN, Reason.MEMORY_REQUIRED)),
        (1 << 40, "7.4.1", str(8 << 30), (PASS, None)),
        ((1 << 64) - 1, "7.0.15", str(8 << 30), (FAIL, Reason.MEMORY_REQUIRED)),
    ],
)
def test_an_absurd_resizedb_takes_memory_before_the_first_key(
    announced: int, version: str, memory: str | None, expected: Any
) -> None:
    info = {} if memory is None else {"total_system_memory": memory}
    found = report(rdb_version=10, needs=Needs(resizedb=announced))
    assert outcome(found, watched=server(version=version, info=info)) == expected


# -- the check as a whole ---------------------------------------------------------------------------


def test_function_code_is_said_to_be_unproven_and_is_no_failure() -> None:
    came = result(
        CheckId.RESTORE_TARGET, known(found=report(needs=Needs(functions=2))), watched=server()
    )
    assert came.outcome is PASS
    assert "2 function libraries" in came.measured
    assert "restore drill" in came.measured


def test_all_that_is_missing_is_told_at_once_the_version_first() -> None:
    found = report(rdb_version=12, needs=Needs(modules=("MBbloom--", "TSDB-TYPE"), databases=20))
    came = result(CheckId.RESTORE_TARGET, known(found=found), watched=server())
    assert came.reason is TOO_OLD
    for part in (
        "RDB version 12",
        "REDIS up to 11",
        "MBbloom-- (module bf)",
        "20 databases, and it",
    ):
        assert part in came.measured, part
    assert came.limit == "redis 7.2.6, the watched one"
    assert "target.version" in came.remedy


def test_a_file_that_names_thousands_of_modules_is_told_in_one_line() -> None:
    found = needing(*(f"type-{n:04}" for n in range(3000)))
    came = result(CheckId.RESTORE_TARGET, known(found=found), watched=server())
    assert came.reason is Reason.MODULE_REQUIRED
    assert len(came.measured) < 300
    assert "2,994 more" in came.measured


def test_no_server_at_all_is_a_skip() -> None:
    assert outcome(report()) == (SKIP, Reason.NO_REDIS)


@pytest.mark.parametrize(
    ("found", "said", "expected"),
    [
        (report(), None, (UNKNOWN, Reason.REDIS_TIMEOUT)),
        (report(rdb_version=12), None, (FAIL, TOO_OLD)),
        (report(), {"databases": 4}, (UNKNOWN, Reason.REDIS_TIMEOUT)),
        (
            report(),
            {
                "server": Dialect.REDIS, "version": (7, 2), "modules": frozenset(),
                "databases": 16, "cluster": False,
            },
            (PASS, None),
        ),
        (report(), {"server": Dialect.VALKEY, "version": (7, 2)}, (PASS, None)),
    ],
)  # fmt: skip
def test_losing_sight_of_the_server_hides_no_failure_and_proves_nothing(
    found: Any, said: Any, expected: Any
) -> None:
    how: dict[str, Any] = {
        "watched": unseen(Reason.REDIS_TIMEOUT),
        "more": {"last_good": server(), "unseen_seconds": 5.0},
        "policy": aiming(**said) if said else None,
    }
    assert outcome(found, **how) == expected


def test_a_server_never_seen_is_unknown() -> None:
    watched = unseen(Reason.REDIS_UNREACHABLE)
    assert outcome(report(), watched=watched) == (UNKNOWN, Reason.REDIS_UNREACHABLE)


@pytest.mark.parametrize("mode", [CheckMode.WARN, CheckMode.BLOCK, None])
def test_it_warns_unless_it_was_made_to_block(mode: CheckMode | None) -> None:
    how: dict[str, Any] = {"checks": {} if mode is None else {CheckId.RESTORE_TARGET: mode}}
    state = judged(known(found=needing("TSDB-TYPE")), watched=server(), **how).verdict.state
    assert (state is VerdictState.AT_RISK) == (mode is CheckMode.BLOCK)


def test_an_unknown_target_never_blocks() -> None:
    """It is about the server, and what can't be seen of that is told by ``redis_reachable``."""
    how: dict[str, Any] = {
        "watched": unseen(Reason.REDIS_TIMEOUT),
        "more": {"last_good": server(), "unseen_seconds": 5.0},
        "checks": {CheckId.RESTORE_TARGET: CheckMode.BLOCK},
    }
    assert judged(known(found=report()), **how).verdict.state is VerdictState.PROTECTED


@pytest.mark.parametrize("status", [Status.CORRUPT, Status.UNREADABLE, Status.EMPTY])
def test_a_broken_backup_is_not_compared(status: Status) -> None:
    bad = report(status, checksum=None, rdb_version=None)
    assert outcome(bad, watched=server()) == (SKIP, Reason.NOTHING_TO_JUDGE)


def test_a_newer_dump_accepted_by_its_checksum_is_compared_by_its_version() -> None:
    policy = {"verify": VerifyPolicy(unsupported=UnsupportedMode.ACCEPT_CHECKSUM)}
    newer = report(Status.UNSUPPORTED_VERSION, rdb_version=16)
    assert outcome(newer, watched=server(version="8.10.2"), policy=policy) == (FAIL, TOO_OLD)
    assert outcome(newer, watched=server(version="9.0.0"), policy=policy) == (SKIP, UNTOLD)


def test_it_recovers_when_the_module_is_loaded() -> None:
    file = known(found=needing("TSDB-TYPE"))
    without = result(CheckId.RESTORE_TARGET, file, watched=server())
    assert without.outcome is FAIL
    loaded = server(at=NOW, modules=frozenset({"timeseries"}))
    assert result(CheckId.RESTORE_TARGET, file, watched=loaded).outcome is PASS
