# The service in 23 MB of libraries and nothing else: no shell, no package manager, not root.
#
#   docker build -t tollgate .
#   docker run --rm -p 127.0.0.1:8081:8081 -v "$PWD/examples/limits.yaml:/etc/tollgate/limits.yaml:ro" tollgate
FROM rust:1-slim-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock build.rs ./
# The workspace wants the manifest of lab as well, and a source beside it; lab itself is not built.
COPY lab/Cargo.toml lab/
RUN mkdir lab/src && touch lab/src/lib.rs
COPY proto proto
COPY lua lua
COPY schema schema
COPY core core
COPY prove prove
COPY src src
# The cache outlives a checkout, and cargo goes by times: without the touch, sources older than the last build would
# not be built, and the image would hold another checkout's program. A cache is no layer, so the program leaves it here;
# with its symbols, for the names in a backtrace.
RUN --mount=type=cache,id=tollgate-registry,target=/usr/local/cargo/registry \
    --mount=type=cache,id=tollgate-target,target=/src/target,sharing=locked \
    find build.rs proto lua schema core prove src -exec touch {} + \
 && cargo build --release --locked -p tollgate \
 && strip --strip-debug -o /tollgate target/release/tollgate

FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="Tollgate" \
      org.opencontainers.image.description="A rate-limit service for Envoy whose limit holds" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /tollgate /usr/local/bin/tollgate
# By default it listens on loopback, where nothing outside the container comes.
ENV TOLLGATE_GRPC_LISTEN=0.0.0.0:8081 \
    TOLLGATE_ADMIN_LISTEN=0.0.0.0:8080 \
    TOLLGATE_CONFIG=/etc/tollgate/limits.yaml
EXPOSE 8080 8081
# Liveness only: with Redis down Tollgate still answers, and restarting it would help nobody.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/usr/local/bin/tollgate", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/tollgate"]
CMD ["serve"]
