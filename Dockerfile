# The service on 23 MB of libraries, with no shell and no package manager. It does not run as root.
#
#   docker build -t tollgate .
#   docker run --rm -p 127.0.0.1:8081:8081 -v "$PWD/examples/limits.yaml:/etc/tollgate/limits.yaml:ro" tollgate
#
# The program is built with profile-guided optimization: three builds, and a minute and a half of load between them. It costs a
# fifth less CPU than the ordinary one. `--build-arg BUILD=ordinary` builds once; for another platform than the engine's it has to be said,
# because there the load would run emulated.
ARG BUILD=profiled

FROM rust:1-slim-bookworm AS source
WORKDIR /src
COPY Cargo.toml Cargo.lock build.rs ./
# The workspace needs lab's manifest and a source file beside it, although lab itself is not built.
COPY lab/Cargo.toml lab/
RUN mkdir lab/src && touch lab/src/lib.rs
COPY proto proto
COPY lua lua
COPY schema schema
COPY core core
COPY prove prove
COPY src src

# The caches outlive a checkout, and cargo compares modification times. Without the touch, sources older than the last build
# would not be rebuilt, and the image would contain another checkout's program. A cache is not part of a layer, so the program
# is copied out of it, with its symbols for backtraces.
FROM source AS ordinary
RUN --mount=type=cache,id=tollgate-registry,target=/usr/local/cargo/registry \
    --mount=type=cache,id=tollgate-target,target=/src/target,sharing=locked \
    find build.rs proto lua schema core prove src -exec touch {} + \
 && cargo build --release --locked -p tollgate \
 && strip --strip-debug -o /tollgate target/release/tollgate

FROM source AS profiled
ARG BUILDPLATFORM TARGETPLATFORM
RUN [ "$BUILDPLATFORM" = "$TARGETPLATFORM" ] \
 || { echo "there is no profile for $TARGETPLATFORM from $BUILDPLATFORM: write docker build --build-arg BUILD=ordinary"; exit 1; }
# The load's Redis, and what merges a profile, which has to be of rustc's own LLVM.
RUN apt-get update -qq && apt-get install -qqy --no-install-recommends redis-server \
 && { ls "$(rustc --print sysroot)"/lib/rustlib/*/bin/llvm-profdata || rustup component add llvm-tools; }
COPY lab lab
COPY tests/tls/keys tests/tls/keys
COPY scripts/release-pgo scripts/
RUN --mount=type=cache,id=tollgate-registry,target=/usr/local/cargo/registry \
    --mount=type=cache,id=tollgate-target-profiled,target=/src/target,sharing=locked \
    find build.rs proto lua schema core prove src lab -exec touch {} + \
 && scripts/release-pgo \
 && strip --strip-debug -o /tollgate target/pgo/optimized/*/release/tollgate

FROM ${BUILD} AS build
RUN mkdir /links && ln -s /usr/local/bin/tollgate /links/ratelimit

FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="Tollgate" \
      org.opencontainers.image.description="A rate-limit service for Envoy whose limit holds" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /tollgate /usr/local/bin/tollgate
# Under this name it takes the place of envoyproxy/ratelimit: see docs/ratelimit.md.
COPY --from=build /links/ /bin/
# The default is loopback, which cannot be reached from outside the container.
# TOLLGATE_IMAGE_… gives way to what the user of the image sets, and does not count under the name ratelimit.
ENV TOLLGATE_IMAGE_GRPC_LISTEN=0.0.0.0:8081 \
    TOLLGATE_IMAGE_ADMIN_LISTEN=0.0.0.0:8080 \
    TOLLGATE_IMAGE_CONFIG=/etc/tollgate/limits.yaml
EXPOSE 8080 8081
# This checks liveness only. While Redis is down, Tollgate still answers, and a restart would not help.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/usr/local/bin/tollgate", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/tollgate"]
CMD ["serve"]
