# Everything a contributor runs. Each target works on a machine with Go alone;
# engines and clients that are missing are skipped visibly, unless
# REDIAM_REQUIRE=redis-server,valkey-server,aws names them.
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME   ?= 10000x

.PHONY: demo demo-check ready test lint unit clients fuzz bench bench-proxy soak lambda

demo:
	go run ./cmd/rediam demo

# The first command of the README, with the engine of this machine and without any.
demo-check:
	go build -o bin/rediam ./cmd/rediam
	bin/rediam demo --once
	bin/rediam demo --once --engine embedded

# How long the emulator takes to be ready, and how much memory.
ready:
	go build -o bin/rediam ./cmd/rediam
	@for i in 1 2 3 4 5; do \
	  rm -f bin/ready.env; start=$$(date +%s%N); \
	  bin/rediam emulate --engine embedded --env-file bin/ready.env >/dev/null 2>&1 & pid=$$!; \
	  while kill -0 $$pid && [ ! -f bin/ready.env ]; do :; done; \
	  echo "ready after $$(( ($$(date +%s%N) - start) / 1000000 )) ms, $$(grep VmHWM /proc/$$pid/status)"; \
	  kill $$pid; wait $$pid; \
	done; rm -f bin/ready.env

# The rotation function for Lambda's runtime provided.al2023, bin/rediam-rotate.zip: the
# same bytes wherever it is built. docs/rotation.md says what to do with it.
LAMBDA_ARCH ?= arm64
LAMBDA_OUT  ?= bin
lambda:
	mkdir -p $(LAMBDA_OUT)
	CGO_ENABLED=0 GOOS=linux GOARCH=$(LAMBDA_ARCH) GOFLAGS= \
	  go build -trimpath -buildvcs=false -tags lambda.norpc -ldflags '-s -w -buildid=' -o $(LAMBDA_OUT)/rediam-rotate ./cmd/rediam-rotate
	go run ./cmd/rediam-rotate/pack $(LAMBDA_OUT)/rediam-rotate $(LAMBDA_OUT)/rediam-rotate.zip

test: lint unit clients fuzz

lint:
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "gofmt -w $$unformatted"; exit 1; }
	go vet ./...
	go run $(STATICCHECK) ./...

unit:
	go test -race ./...

# Every Go client for 15 lives of a connection, and 1,000 connections that are
# dropped at once; then clients of other languages through the proxy until it has
# renewed each connection 10 times, without the race detector, which takes seconds
# for their 64 MiB. By itself, since it is about seconds.
clients:
	REDIAM_SOAK=15 REDIAM_STORM=1000 go test -race -count=1 -timeout 15m ./internal/soak
	REDIAM_PROXY_SOAK=10 go test -count=1 -timeout 15m -run Proxy ./internal/soak
	REDIAM_CONNECTIONS=10000 go test -count=1 -timeout 5m -run Vanish ./internal/proxy

# A count rather than a time: at the end of a time the fuzzer may report its own
# deadline as a failure.
# FuzzSession is for `make soak`: `make unit` has some thousand of its plays already,
# and what it may still find wants a person, not a failed build.
FUZZ ?= Fuzz([^S]|S[^e])[A-Za-z0-9]*
fuzz:
	@grep -rE '^func $(FUZZ)' --include='*_test.go' . | \
	sed -E 's|^(.*)/[^/]*_test\.go:func (Fuzz[A-Za-z0-9]*).*|\1 \2|' | \
	xargs -P 2 -L 1 sh -c 'go test -run "^$$" -fuzz "^$$1\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x $$0'

bench:
	go test -run '^$$' -bench . -benchmem ./...

# rediam proxy beside haproxy, nginx and stunnel, about ten minutes on a machine that
# does nothing else. It says which package brings what is missing. Flags:
# make bench-proxy ARGS='-repeat 9 -only "rediam|haproxy|direct" -load P1 -floor'
bench-proxy:
	go run ./bench/proxy $(ARGS)

# What takes too long for every change: long fuzzing, long comparisons, the clients
# for 100 lives and 5,000 connections, 75 renewals by the proxy, 20,000 calls to an
# emulator that is killed over and over.
soak:
	REDIAM_SOAK=100 go test -race -count=1 -timeout 30m -run Soak -v ./internal/soak
	REDIAM_STORM=5000 go test -count=1 -timeout 30m -run Storm -v ./internal/soak
	REDIAM_PROXY_SOAK=75 go test -count=1 -timeout 30m -run Proxy -v ./internal/soak
	REDIAM_VISITS=100000 go test -count=1 -timeout 30m -run SeesAnother -v ./internal/proxy
	REDIAM_ACL_RUNS=250 go test -count=1 ./internal/acl
	REDIAM_CALLS=20000 go test -count=1 -timeout 30m -run Killed -v ./cmd/rediam
	$(MAKE) fuzz FUZZ=Fuzz FUZZTIME=2000000x
