# syntax=docker/dockerfile:1.7
# Carillon in an image without shell or package manager, as a numbered user that is not root, on a root file system that may
# be read-only: all it writes is below /data.
#
#   docker build --build-arg COMMIT="$(git rev-parse HEAD)" -t carillon .
#
# Without an engine that knows cache mounts the build works too, from the beginning each time.

FROM rust:1.95.0-bookworm AS build
WORKDIR /src
# What the build needs and nothing else: a change of the documentation builds nothing anew.
COPY Cargo.toml Cargo.lock ./
COPY migrations migrations
COPY web web
COPY src src
# Cargo.toml names the tests, and cargo wants to see them; they are not built.
RUN mkdir -p tests/it && touch tests/it/main.rs
# The commit is told and not looked up: what is copied has no .git (see .dockerignore). It comes last, so that the layers
# above stay; cargo builds anew what names it.
ARG COMMIT=""
RUN --mount=type=cache,id=carillon-registry,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,id=carillon-target,target=/src/target,sharing=locked \
    CARILLON_BUILD_COMMIT="$COMMIT" cargo build --release --locked --bin carillon \
    && mkdir -p /out/data \
    && cp target/release/carillon /out/carillon

# The C library and certificates of authorities, of the same Debian that the binary was built on, and no more. It has no tags
# of versions: pin its digest where builds must be repeatable (--build-arg RUNTIME=gcr.io/distroless/cc-debian12@sha256:…).
ARG RUNTIME=gcr.io/distroless/cc-debian12:nonroot
# hadolint ignore=DL3006
FROM ${RUNTIME} AS runtime
ARG COMMIT=""
LABEL org.opencontainers.image.title="carillon" \
      org.opencontainers.image.description="The control plane for voice and video calls" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.revision="${COMMIT}"
COPY --from=build /out/carillon /carillon
# Where a single node keeps its SQLite database and its recordings. Belongs to the user below, and so does a new volume.
COPY --from=build --chown=65532:65532 /out/data /data
WORKDIR /data
VOLUME ["/data"]
# By number: Kubernetes cannot see of a name that it is not root's.
USER 65532:65532
# Inside a container loopback would reach nobody. Everything else has to be set; without a key for tokens it does not start.
ENV CARILLON_LISTEN=0.0.0.0:8080 \
    CARILLON_LOG_FORMAT=json
EXPOSE 8080
# Longer than the answer that a node gives while its database is away.
HEALTHCHECK --interval=5s --timeout=10s --start-period=60s --retries=3 CMD ["/carillon", "healthcheck"]
# It hands its calls over, and ends by itself (CARILLON_DRAIN_SECS).
STOPSIGNAL SIGTERM
ENTRYPOINT ["/carillon"]
CMD ["serve"]
