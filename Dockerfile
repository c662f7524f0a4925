# syntax=docker/dockerfile:1

# Any Debian or Ubuntu with Python 3.11 or newer will do, and so will one without: then the
# distribution's own is installed. Both stages stand on it, so that the environment built in the
# first finds the same interpreter in the second.
ARG BASE=python:3.13-slim-bookworm
# Where the toolchain of the native engine is taken from: any image that has it where the official
# ones do, in /usr/local/cargo and /usr/local/rustup. Distributions' own are often too old.
ARG RUST=rust:1-slim-bookworm

# hadolint ignore=DL3006
FROM ${RUST} AS rust

# hadolint ignore=DL3006
FROM ${BASE} AS build
SHELL ["/bin/sh", "-euc"]
ENV DEBIAN_FRONTEND=noninteractive PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# The native engine and one library are compiled. Where python3 is the distribution's, so are its
# headers. ca-certificates: pip brings its own, cargo does not.
# hadolint ignore=DL3008,SC2086
RUN apt-get update; \
    packages="gcc libc6-dev ca-certificates"; \
    if ! command -v python3 || [ "$(command -v python3)" = /usr/bin/python3 ]; then \
        packages="$packages python3 python3-venv python3-dev"; \
    fi; \
    apt-get install --yes --no-install-recommends $packages; \
    rm -rf /var/lib/apt/lists/*; \
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'
WORKDIR /src
COPY requirements.lock .
# A company's own CA certificates, if given: docker build --secret id=ca,src=/etc/ssl/certs/...
RUN --mount=type=secret,id=ca \
    if [ -s /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi; \
    python3 -m venv /opt/venv; \
    /opt/venv/bin/pip install --require-hashes -r requirements.lock
COPY pyproject.toml setup.py README.md LICENSE ./
COPY exporter exporter
# REQUIRE_NATIVE: an image without its engine is none.
ENV RUSTUP_HOME=/usr/local/rustup CARGO_HOME=/tmp/cargo REQUIRE_NATIVE=1
RUN --mount=type=secret,id=ca \
    --mount=type=bind,from=rust,source=/usr/local/cargo,target=/usr/local/cargo \
    --mount=type=bind,from=rust,source=/usr/local/rustup,target=/usr/local/rustup \
    if [ -s /run/secrets/ca ]; then \
        export PIP_CERT=/run/secrets/ca CARGO_HTTP_CAINFO=/run/secrets/ca; \
    fi; \
    export PATH="/usr/local/cargo/bin:$PATH"; \
    /opt/venv/bin/pip wheel --no-deps --wheel-dir /dist .; \
    /opt/venv/bin/pip install --no-deps /dist/*.whl; \
    /opt/venv/bin/pip check; \
    /opt/venv/bin/pip uninstall --yes pip

# hadolint ignore=DL3006
FROM ${BASE}
SHELL ["/bin/sh", "-euc"]
# ca-certificates: where a company can add its own CA for TLS to Redis and to the monitor.
# hadolint ignore=DL3008,SC2086
RUN packages=""; \
    command -v python3 || packages="python3"; \
    [ -e /etc/ssl/certs/ca-certificates.crt ] || packages="$packages ca-certificates"; \
    if [ -n "$packages" ]; then \
        apt-get update; \
        DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends $packages; \
        rm -rf /var/lib/apt/lists/*; \
    fi; \
    install -d -o 999 -g 999 -m 0750 /var/lib/redis-backup-exporter
COPY --from=build /opt/venv /opt/venv
# Lines of the log leave at once; nothing is written but the state, so the root can be read-only.
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1

ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="redis-backup-exporter" \
      org.opencontainers.image.description="Proves Redis and Valkey backups, exports the verdict to Prometheus, relays a heartbeat only while the newest backup is fresh and intact." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# The uid of the official Redis and Valkey images: it can read their dumps.
USER 999:999
VOLUME ["/var/lib/redis-backup-exporter"]
EXPOSE 19121
HEALTHCHECK --interval=30s --timeout=6s --start-period=30s --retries=3 \
    CMD ["redis-backup-exporter", "healthcheck"]
ENTRYPOINT ["redis-backup-exporter"]
CMD ["run"]
