# The worker, the migrations and the rest of the command line, in an image with nothing else in it:
#
#   docker build --build-arg VERSION=v1.2.3 -t headway .
#
# It needs BuildKit, which is what `docker build` uses since Docker 23; DOCKER_BUILDKIT=1 asks older ones for it.
FROM --platform=$BUILDPLATFORM golang:1.26-bookworm AS build
WORKDIR /src

# Modules change less often than code.
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod \
  go mod download

COPY . .
ARG TARGETOS
ARG TARGETARCH
ARG VERSION
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
  CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
  go build -trimpath -tags timetzdata -ldflags "-s -w -X main.release=$VERSION" -o /out/headway ./cmd/headway

# The user that the worker is, and a home in which libpq's habits look for .pgpass and find none.
RUN mkdir -p /out/etc/ssl/certs /out/home && \
  echo 'headway:x:65532:65532:headway:/home:/sbin/nologin' >/out/etc/passwd && \
  echo 'headway:x:65532:' >/out/etc/group && \
  cp /etc/ssl/certs/ca-certificates.crt /out/etc/ssl/certs/

# Nothing to patch but headway itself. Certificates are the build image's; the time zones are in the binary.
FROM scratch
COPY --from=build /out /

ARG VERSION
ARG REVISION
LABEL org.opencontainers.image.title="headway" \
  org.opencontainers.image.description="Live progress, chat and unread-mail digests on PostgreSQL" \
  org.opencontainers.image.licenses="MIT" \
  org.opencontainers.image.version="$VERSION" \
  org.opencontainers.image.revision="$REVISION"

# By number, so that Kubernetes' runAsNonRoot can tell.
USER 65532:65532
ENV HEADWAY_HTTP_ADDR=:8080
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["/headway", "healthcheck"]
ENTRYPOINT ["/headway"]
CMD ["worker"]
