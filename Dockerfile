# The exporter on nothing but a CA bundle: `docker build --tag pinpoint-exporter .`, for amd64 and arm64, each built on its own
# kind. `--target fake` is the fake Pinpoint, for trials.
#
# For the same bytes again give the same SOURCE_DATE_EPOCH and REVISION, and the base by its digest:
#   docker build --build-arg RUST_IMAGE=docker.io/library/rust:1.95.0-slim-bookworm@sha256:… \
#     --build-arg REVISION="$(git rev-parse --short=12 HEAD)" --build-arg SOURCE_DATE_EPOCH="$(git log -1 --format=%ct)" .
ARG RUST_IMAGE=docker.io/library/rust:1.95.0-slim-bookworm

FROM ${RUST_IMAGE} AS source
WORKDIR /src
COPY . .
# A static program of the C library that the tests run with: since 2.34 glibc's resolver for hosts and DNS is in libc.a, and it
# asks again by TCP for a long answer. Its relocations take 5 kB when packed, and 460 otherwise. The target is named so that the
# flags do not reach build scripts and macros.
ENV RUSTFLAGS="-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs"

FROM source AS build-fake
# Its own size and speed do not matter, but those of its build do.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_OPT_LEVEL=1 \
    cargo build --locked --release --package fake-pinpoint --target "$(rustc --print host-tuple)" && \
    mkdir /image && cp target/*/release/fake-pinpoint /image/

FROM scratch AS fake
LABEL org.opencontainers.image.title="fake-pinpoint" \
    org.opencontainers.image.description="A fake of Amazon Pinpoint's API for trials of pinpoint-exporter" \
    org.opencontainers.image.source="https://github.com/pinpoint-exporter/pinpoint-exporter" \
    org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build-fake /image /
USER 65532:65532
EXPOSE 9788
ENTRYPOINT ["/fake-pinpoint"]
CMD ["--listen", "0.0.0.0:9788"]

FROM source AS build
ARG REVISION
ARG SOURCE_DATE_EPOCH
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    cargo build --locked --release --package pinpoint-exporter --target "$(rustc --print host-tuple)" && \
    mkdir --parents /image/etc/ssl/certs && \
    cp target/*/release/pinpoint-exporter /image/ && \
    cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ && \
    find /image -exec touch --date="@${SOURCE_DATE_EPOCH:-$(date +%s)}" {} +

FROM scratch
ARG VERSION=0.1.0
ARG REVISION
LABEL org.opencontainers.image.title="pinpoint-exporter" \
    org.opencontainers.image.description="Prometheus exporter for the export jobs of Amazon Pinpoint's segments" \
    org.opencontainers.image.url="https://github.com/pinpoint-exporter/pinpoint-exporter" \
    org.opencontainers.image.source="https://github.com/pinpoint-exporter/pinpoint-exporter" \
    org.opencontainers.image.documentation="https://github.com/pinpoint-exporter/pinpoint-exporter/blob/main/README.md" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
COPY --from=build /image /
# A number, so that Kubernetes can see that it is not root.
USER 65532:65532
EXPOSE 9787
# Needs no setting but LISTEN_ADDRESS: it finds out by itself whether the port speaks TLS.
HEALTHCHECK --interval=30s --timeout=10s --start-period=10s --retries=3 CMD ["/pinpoint-exporter", "healthcheck"]
ENTRYPOINT ["/pinpoint-exporter"]
