"""What the dashboard shows, row by row.

Knows: questions that a person on call asks, and the queries that answer them. Refuses to know: how
Grafana draws them (``panels``), and what the exporter is: a test holds every metric name here
against its table of families.
"""

from __future__ import annotations

from grafana.panels import (
    AMBER,
    CHECKED,
    GREEN,
    OUTCOMES,
    PLACED,
    RED,
    SELECTED,
    VERDICTS,
    YES_NO,
    Panel,
    Query,
    Row,
    metric,
    stat,
)

AGE = f"time() - {metric('last_valid_timestamp_seconds', PLACED)}"
SHARE = f"({AGE}) / on (job, instance, location) group_left () {metric('max_age_seconds', PLACED)}"
AT_RISK = metric("verdict", SELECTED + ',state="at_risk"')
UNKNOWN = metric("verdict", SELECTED + ',state="unknown"')
VERDICT = f"max(sum by (job, instance) (2 * {AT_RISK} or {UNKNOWN}))"
PLACE = "{{instance}} {{location}}"

ROWS: tuple[Row, ...] = (
    Row(
        title="Now",
        panels=(
            stat(
                "Verdict",
                "The worst verdict of the selected exporters. Green: if the server died now, the "
                "newest backup would load and holds what it should.",
                "none",
                VERDICT,
                words=VERDICTS,
                width=6,
            ),
            stat(
                "Age of the newest valid backup",
                "Time since the data of the newest valid backup that still exists was taken.",
                "s",
                f"max({AGE})",
                width=5,
            ),
            stat(
                "Share of the allowed age",
                "The same age as a share of the configured limit; 100 % is too old.",
                "percentunit",
                f"max({SHARE})",
                steps=((None, GREEN), (0.8, AMBER), (1, RED)),
            ),
            stat(
                "Size",
                "Size of the newest valid backup.",
                "bytes",
                f"sum({metric('last_valid_size_bytes', PLACED)})",
                width=3,
            ),
            stat(
                "Keys",
                "Keys counted in the newest valid backup.",
                "short",
                f"sum({metric('last_valid_keys', PLACED)})",
                width=3,
            ),
            stat(
                "Writes not in a backup",
                "Writes since the newest valid backup: what would be lost now.",
                "short",
                f"sum({metric('exposed_changes')})",
                width=3,
            ),
            stat(
                "Last heartbeat",
                "Time since the receiver last accepted a heartbeat.",
                "s",
                f"time() - min({metric('heartbeat_last_success_timestamp_seconds')})",
            ),
            stat(
                "Exposed for",
                "Time since the newest valid backup was taken, as of the last cycle.",
                "s",
                f"max({metric('exposed_seconds')})",
            ),
            Panel(
                title="State of the newest judged backup",
                description="Status of the newest backup that was read to its end, by location.",
                unit="none",
                kind="table",
                width=16,
                height=5,
                queries=(Query(expr=f"{metric('newest_status', PLACED)} == 1", table=True),),
            ),
        ),
    ),
    Row(
        title="Backups",
        panels=(
            Panel(
                title="Age against limit",
                description="The sawtooth: it falls with each new valid backup and must not reach "
                "the limit.",
                unit="s",
                width=16,
                queries=(
                    Query(expr=AGE, legend=PLACE),
                    Query(expr=metric("max_age_seconds", PLACED), legend=f"limit {PLACE}"),
                ),
            ),
            Panel(
                title="Status over time",
                description="Which status the newest judged backup had; one line a status.",
                unit="none",
                kind="state-timeline",
                queries=(
                    Query(
                        expr=f"{metric('newest_status', PLACED)} == 1",
                        legend="{{location}} {{status}}",
                    ),
                ),
            ),
            Panel(
                title="Size of the newest backup",
                description="Of the newest backup, valid or not, and of the newest valid one.",
                unit="bytes",
                queries=(
                    Query(expr=metric("newest_size_bytes", PLACED), legend=f"newest {PLACE}"),
                    Query(expr=metric("last_valid_size_bytes", PLACED), legend=f"valid {PLACE}"),
                ),
            ),
            Panel(
                title="Keys in the newest valid backup",
                description="A fall to nothing after a flush is seen nowhere else.",
                unit="short",
                queries=(
                    Query(expr=metric("last_valid_keys", PLACED), legend=PLACE),
                    Query(expr=metric("server_keys"), legend="server {{instance}}"),
                ),
            ),
            Panel(
                title="Files and recovery points",
                description="Files that match, and snapshots among them that really differ.",
                unit="short",
                queries=(
                    Query(expr=metric("files", PLACED), legend=f"files {PLACE}"),
                    Query(expr=metric("distinct_snapshots", PLACED), legend=f"distinct {PLACE}"),
                ),
            ),
            Panel(
                title="Space",
                description="Space left at the location, and what all its backups take.",
                unit="bytes",
                width=12,
                queries=(
                    Query(expr=metric("location_free_bytes", PLACED), legend=f"free {PLACE}"),
                    Query(expr=metric("files_size_bytes", PLACED), legend=f"used {PLACE}"),
                ),
            ),
            Panel(
                title="Location can be listed",
                description="While it can not, nothing about its backups is known.",
                unit="none",
                kind="state-timeline",
                width=12,
                words=YES_NO,
                queries=(Query(expr=metric("location_up", PLACED), legend=PLACE),),
            ),
        ),
    ),
    Row(
        title="Checks",
        panels=(
            Panel(
                title="Checks that do not pass",
                description="With the reason id that page, JSON and log show as well.",
                unit="none",
                kind="table",
                width=12,
                height=9,
                queries=(Query(expr=metric("check_reason_info", CHECKED), table=True),),
            ),
            Panel(
                title="Outcomes over time",
                description="A skipped check has no line. Only severity block withholds the "
                "heartbeat.",
                unit="none",
                kind="state-timeline",
                width=12,
                height=9,
                words=OUTCOMES,
                queries=(
                    Query(
                        expr=metric("check_outcome", CHECKED),
                        legend="{{location}} {{check}} ({{severity}})",
                    ),
                ),
            ),
        ),
    ),
    Row(
        title="Verification",
        panels=(
            Panel(
                title="Not valid, by status",
                description="Backups that turned out broken, or could not be verified.",
                unit="short",
                queries=(
                    Query(
                        expr="sum by (location, reason) (increase("
                        f"{metric('verification_failures_total', PLACED)}[$__rate_interval]))",
                        legend="{{location}} {{reason}}",
                    ),
                ),
            ),
            Panel(
                title="Duration",
                description="How long reading one backup took: median and 95th percentile.",
                unit="s",
                queries=tuple(
                    Query(
                        expr=f"histogram_quantile({share}, sum by (le) (rate("
                        f"{metric('verification_duration_seconds_bucket')}[$__rate_interval])))",
                        legend=legend,
                    )
                    for share, legend in (("0.5", "median"), ("0.95", "95 %"))
                ),
            ),
            Panel(
                title="Throughput",
                description="Bytes of backups read in a second, and readings.",
                unit="Bps",
                queries=(
                    Query(
                        expr=f"rate({metric('verified_bytes_total')}[$__rate_interval])",
                        legend="{{instance}}",
                    ),
                ),
            ),
            Panel(
                title="Since the newest valid one was last read in full",
                description="Bit rot comes after the first reading.",
                unit="s",
                queries=(
                    Query(
                        expr=f"time() - {metric('last_valid_verified_timestamp_seconds', PLACED)}",
                        legend=PLACE,
                    ),
                ),
            ),
            Panel(
                title="Reading now",
                description="How much of the backup that is being read is done.",
                unit="percentunit",
                queries=(
                    Query(expr=metric("verification_progress_ratio"), legend="done {{instance}}"),
                    Query(expr=metric("verification_in_progress"), legend="busy {{instance}}"),
                ),
                extra={"min": 0, "max": 1},
            ),
            Panel(
                title="Readings",
                description="Backups read to a final status.",
                unit="short",
                queries=(
                    Query(
                        expr=f"increase({metric('verifications_total', PLACED)}[$__rate_interval])",
                        legend=PLACE,
                    ),
                ),
            ),
        ),
    ),
    Row(
        title="Heartbeat",
        panels=(
            Panel(
                title="Since the last accepted heartbeat",
                description="Against the configured interval, in continuous mode.",
                unit="s",
                queries=(
                    Query(
                        expr=f"time() - {metric('heartbeat_last_success_timestamp_seconds')}",
                        legend="{{instance}} {{heartbeat}}",
                    ),
                    Query(expr=metric("heartbeat_interval_seconds"), legend="interval"),
                ),
            ),
            Panel(
                title="Failures and due",
                description="Heartbeats that were not accepted, by kind, and how many are due.",
                unit="short",
                queries=(
                    Query(
                        expr="sum by (reason) (increase("
                        f"{metric('heartbeat_failures_total')}[$__rate_interval]))",
                        legend="{{reason}}",
                    ),
                    Query(expr=metric("heartbeat_pending"), legend="due {{instance}}"),
                    Query(
                        expr=f"increase({metric('heartbeat_attempts_total')}[$__rate_interval])",
                        legend="attempts {{instance}}",
                    ),
                ),
            ),
            Panel(
                title="Withheld, by reason",
                description="Why no heartbeat was sent: the first reason that blocked.",
                unit="short",
                queries=(
                    Query(
                        expr="sum by (reason) (increase("
                        f"{metric('heartbeats_withheld_total')}[$__rate_interval])) > 0",
                        legend="{{reason}}",
                    ),
                ),
            ),
        ),
    ),
    Row(
        title="Redis",
        panels=(
            Panel(
                title="Server answers",
                description="INFO was answered in the last cycle. It does not say more.",
                unit="none",
                kind="state-timeline",
                words=YES_NO,
                queries=(
                    Query(expr=metric("server_up"), legend="up {{instance}}"),
                    Query(
                        expr=metric("server_last_bgsave_success"),
                        legend="last BGSAVE ok {{instance}}",
                    ),
                ),
            ),
            Panel(
                title="Writes since the last save",
                description="It restarts at 0 with the server.",
                unit="short",
                queries=(
                    Query(expr=metric("server_changes_since_last_save"), legend="{{instance}}"),
                ),
            ),
            Panel(
                title="Last save against the newest backup",
                description="How much younger the server's last save is than the newest backup.",
                unit="s",
                queries=(
                    Query(
                        expr=f"{metric('server_last_save_timestamp_seconds')} - on (job, instance) "
                        f"group_right () {metric('newest_timestamp_seconds', PLACED)}",
                        legend=PLACE,
                    ),
                ),
            ),
            Panel(
                title="BGSAVE and fork",
                description="Duration of the last BGSAVE, and how long the last fork stopped the "
                "server.",
                unit="s",
                queries=(
                    Query(
                        expr=metric("server_last_bgsave_duration_seconds"),
                        legend="BGSAVE {{instance}}",
                    ),
                    Query(expr=metric("server_latest_fork_seconds"), legend="fork {{instance}}"),
                ),
            ),
            Panel(
                title="Memory and copy on write",
                description="Used memory, and what the last save copied.",
                unit="bytes",
                queries=(
                    Query(expr=metric("server_used_memory_bytes"), legend="used {{instance}}"),
                    Query(expr=metric("server_last_cow_bytes"), legend="copied {{instance}}"),
                ),
            ),
            Panel(
                title="Looks that failed",
                description="Why the server was not seen.",
                unit="short",
                queries=(
                    Query(
                        expr="sum by (reason) (increase("
                        f"{metric('server_query_failures_total')}[$__rate_interval]))",
                        legend="{{reason}}",
                    ),
                ),
            ),
        ),
    ),
    Row(
        title="The exporter itself",
        panels=(
            Panel(
                title="Since the last whole cycle",
                description="Beyond three intervals and a minute the verdict is no verdict.",
                unit="s",
                queries=(
                    Query(
                        expr=f"time() - {metric('last_cycle_timestamp_seconds')}",
                        legend="{{instance}}",
                    ),
                    Query(
                        expr=f"3 * {metric('cycle_interval_seconds')} + 60",
                        legend="limit {{instance}}",
                    ),
                ),
            ),
            Panel(
                title="Failed cycles and errors in the log",
                description="Both are bugs, or a machine in trouble.",
                unit="short",
                queries=(
                    Query(
                        expr=f"increase({metric('cycle_failures_total')}[$__rate_interval])",
                        legend="cycles {{instance}}",
                    ),
                    Query(
                        expr="sum by (level) (increase("
                        + metric(
                            "log_messages_total", SELECTED + ',level=~"warning|error|critical"'
                        )
                        + "[$__rate_interval]))",
                        legend="{{level}}",
                    ),
                ),
            ),
            Panel(
                title="Builds",
                description="Version and engine of each exporter.",
                unit="none",
                kind="table",
                queries=(Query(expr=metric("exporter_build_info"), table=True),),
            ),
        ),
    ),
)
