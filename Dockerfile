# An image with only the exporter and a CA bundle: `docker build --tag pinpoint-exporter .`. Build the image for amd64 on amd64,
# and the image for arm64 on arm64. `--target fake` builds an image of the fake Pinpoint, with which you can try the exporter.
#
# To get the same bytes again, set the same SOURCE_DATE_EPOCH and REVISION, and name the base image by its digest:
#   docker build --build-arg RUST_IMAGE=docker.io/library/rust:1.95.0-slim-bookworm@sha256:… \
#     --build-arg REVISION="$(git rev-parse --short=12 HEAD)" --build-arg SOURCE_DATE_EPOCH="$(git log -1 --format=%ct)" .
ARG RUST_IMAGE=docker.io/library/rust:1.95.0-slim-bookworm

FROM ${RUST_IMAGE} AS source
WORKDIR /src
COPY . .
# A static program with glibc, the C library of the tests. Since glibc 2.34, libc.a contains the DNS resolver, which uses TCP for
# long answers. Packed relocations take 5 kB instead of 460 kB. Naming the target keeps these flags away from build scripts and
# macros.
ENV RUSTFLAGS="-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs"

FROM source AS build-fake
# The fake needs to build fast. Its size and speed do not matter.
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
# The user is a number, because runAsNonRoot of Kubernetes cannot check a user name.
USER 65532:65532
EXPOSE 9787
# The health check reads only the setting LISTEN_ADDRESS. It detects whether the port uses TLS.
HEALTHCHECK --interval=30s --timeout=10s --start-period=10s --retries=3 CMD ["/pinpoint-exporter", "healthcheck"]
ENTRYPOINT ["/pinpoint-exporter"]
