# syntax=docker/dockerfile:1

# The program is built against the libraries of the same Debian that it runs on.
FROM rust:1.95.0-slim-bookworm AS build
# librdkafka is built from source and links OpenSSL and zlib.
RUN apt-get update \
 && apt-get install -y --no-install-recommends g++ libssl-dev make perl pkg-config zlib1g-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
# `dev` for an image that has the provider simulator.
ARG FEATURES=""
# The dependencies first, with an empty program: they are built again only when the lock file changes. Cargo.toml names
# the benches and tests, which are not in the context: without their files cargo refuses it.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src benches tests/it \
 && echo 'fn main() {}' > src/main.rs \
 && touch src/lib.rs benches/pure.rs tests/it/main.rs \
 && cargo build --release --locked --bin genflow --no-default-features --features "$FEATURES" \
 && rm -r src
COPY schemas schemas
COPY templates templates
COPY src src
# A copied file may be older than the empty program that cargo has built.
RUN find src -name '*.rs' -exec touch {} + \
 && cargo build --release --locked --bin genflow --no-default-features --features "$FEATURES"

FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates libssl3 zlib1g \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --system --gid 10001 genflow \
 && useradd --system --uid 10001 --gid genflow --home-dir /var/lib/genflow genflow \
 && install -d -o genflow -g genflow /var/lib/genflow /var/lib/genflow/results /var/lib/genflow/tmp
COPY --from=build /src/target/release/genflow /usr/local/bin/genflow
# By number: Kubernetes' runAsNonRoot cannot judge a name.
USER 10001:10001
WORKDIR /var/lib/genflow
# In a container the pages have to be reached from outside of it.
ENV HTTP_ADDR=0.0.0.0:9464 \
    RESULTS_DIR=/var/lib/genflow/results \
    TEMP_DIR=/var/lib/genflow/tmp
EXPOSE 9464
STOPSIGNAL SIGTERM
ENTRYPOINT ["genflow"]
CMD ["all"]
