# syntax=docker/dockerfile:1

FROM rust:1.95-slim-bookworm AS build
# The image's own toolchain; without this rustup would download what rust-toolchain.toml lists for developers.
ENV RUSTUP_TOOLCHAIN=1.95.0
WORKDIR /src
COPY . .
# One file that needs no other: the same that is published.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    packaging/static /usr/local/bin/warren

FROM debian:bookworm-slim
RUN useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin warren \
    && install --directory --owner=warren --group=warren --mode=0750 /var/lib/warren
COPY --from=build /usr/local/bin/warren /usr/local/bin/warren

# Inside a container only 0.0.0.0 can be reached from outside, and nobody but its own processes comes over loopback, so
# the rule that the user may log in from loopback only would lock everybody out. Set WARREN_AUTH_PASSWORD before
# publishing a port to a network; the broker logs a warning until then.
ENV WARREN_BIND=0.0.0.0 \
    WARREN_HTTP_BIND=0.0.0.0 \
    WARREN_DATA=/var/lib/warren \
    WARREN_AUTH_LOOPBACK_ONLY=false

USER warren
WORKDIR /var/lib/warren
VOLUME /var/lib/warren
# AMQP and the HTTP API.
EXPOSE 5672 15672

# A real handshake: the broker has to answer with connection.start.
HEALTHCHECK --interval=30s --timeout=5s --start-period=5s --retries=3 CMD ["warren", "health"]

ENTRYPOINT ["warren"]
