# rediam proxy as a container, for the manifests in deploy/kubernetes and deploy/ecs:
# one static program, no shell, not root, nothing that it writes. From the root of
# the checkout:
#
#	docker build -f deploy/proxy.Dockerfile -t rediam-proxy .
#	docker run --rm --read-only --cap-drop ALL rediam-proxy --help
#
# Tags move: where you build, pin both images by digest, with
# --build-arg GO=golang@sha256:… --build-arg BASE=gcr.io/distroless/static-debian12@sha256:…
ARG GO=golang:1.26.8-bookworm
ARG BASE=gcr.io/distroless/static-debian12:nonroot
FROM ${GO} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o /rediam ./cmd/rediam

FROM ${BASE}
# In PATH, so that health checks and "kubectl exec" can say rediam.
COPY --from=build /rediam /usr/local/bin/rediam
# A number, since the kubelet cannot tell whether a name is root (runAsNonRoot).
USER 65532:65532
ENTRYPOINT ["rediam", "proxy"]
