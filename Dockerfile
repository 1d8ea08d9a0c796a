# syntax=docker/dockerfile:1

# The last stage: C library, certificates, time zones, and no shell. Give it with a digest for builds that can be repeated.
ARG BASE=gcr.io/distroless/cc-debian12:nonroot

# The same Debian as the last stage, so that the C library fits.
FROM rust:1.95.0-slim-bookworm AS build
# librdkafka is built from source, and needs OpenSSL and zlib.
RUN apt-get update \
 && apt-get install -y --no-install-recommends g++ libssl-dev make perl pkg-config \
 && rm -rf /var/lib/apt/lists/* \
 && ln -s "/usr/lib/$(uname -m)-linux-gnu" /usr/lib/static
# Both become part of the program.
ENV OPENSSL_STATIC=1 \
    OPENSSL_INCLUDE_DIR=/usr/include \
    OPENSSL_LIB_DIR=/usr/lib/static \
    LIBZ_SYS_STATIC=1
# Records the crates in the program, where scanners of the image find them.
RUN cargo install --locked cargo-auditable@0.7.7
WORKDIR /src
# `dev` for an image that has the provider simulator.
ARG FEATURES=""
# The dependencies first, with an empty program: they are built again only when the lock file changes. Cargo.toml names
# the benches and tests, which are not copied yet: without their files cargo refuses it.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src benches tests/it \
 && echo 'fn main() {}' > src/main.rs \
 && touch src/lib.rs benches/pure.rs tests/it/main.rs \
 && cargo auditable build --release --locked --bin genflow --no-default-features --features "$FEATURES" \
 && rm -r src
COPY .env.example ./
COPY benches benches
COPY schemas schemas
COPY templates templates
COPY src src
# A copied file may be older than the empty program that cargo has built.
RUN find src -name '*.rs' -exec touch {} + \
 && cargo auditable build --release --locked --bin genflow --no-default-features --features "$FEATURES"
# The last stage has only these libraries, and cannot create folders.
RUN ldd target/release/genflow > /libraries \
 && ! grep -vE 'linux-vdso|ld-linux|/lib(c|m|gcc_s)\.so' /libraries \
 && install -d /out/genflow/results /out/genflow/tmp

# The program alone, for packages: docker build --target binary --output out .
FROM scratch AS binary
COPY --from=build /src/target/release/genflow /genflow

# hadolint ignore=DL3006
FROM ${BASE}
COPY --from=build --chown=10001:10001 /out/genflow /var/lib/genflow
COPY --from=build /src/target/release/genflow /usr/local/bin/genflow
# By number: Kubernetes' runAsNonRoot cannot judge a name.
USER 10001:10001
WORKDIR /var/lib/genflow
# In a container the pages have to be reached from outside of it. OpenSSL is part of the program and would look for its
# certificates elsewhere.
ENV HTTP_ADDR=0.0.0.0:9464 \
    RESULTS_DIR=/var/lib/genflow/results \
    TEMP_DIR=/var/lib/genflow/tmp \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
EXPOSE 9464
STOPSIGNAL SIGTERM
# Whether the process runs, not whether it is ready: a restart does not help if Kafka is down.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 CMD ["/usr/local/bin/genflow", "health"]
ENTRYPOINT ["/usr/local/bin/genflow"]
CMD ["all"]
# The release gives these two.
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="genflow" \
      org.opencontainers.image.description="Turns each Kafka generation request into exactly one Temporal workflow, and publishes its events" \
      org.opencontainers.image.version="0.2.0" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.licenses="Apache-2.0"
