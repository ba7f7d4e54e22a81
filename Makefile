# Everything a contributor runs. Each target works on a machine with Go alone;
# engines and clients that are missing are skipped visibly, unless
# REDIAM_REQUIRE=redis-server,valkey-server,aws names them.
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME   ?= 10000x

.PHONY: demo demo-check ready test lint unit unit-race unit-setup clients fuzz bench bench-proxy soak lambda dist dist-check

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
	CGO_ENABLED=0 GOOS=linux GOARCH=$(LAMBDA_ARCH) GOFLAGS= \
	  go build -trimpath -buildvcs=false -tags lambda.norpc -ldflags '-s -w -buildid=' -o $(LAMBDA_OUT)/lambda/bootstrap ./cmd/rediam-rotate
	go run ./cmd/pack $(LAMBDA_OUT)/rediam-rotate.zip $(LAMBDA_OUT)/lambda

# A release in bin/dist: archives with the program, its manual pages and completions,
# the Lambda function, lists of the modules in them (CycloneDX) and SHA256SUMS. The
# same bytes wherever the same version of Go builds them.
VERSION   ?= $(or $(shell git describe --tags --always --dirty 2>/dev/null),unknown)
COMMIT    ?= $(or $(shell git rev-parse HEAD 2>/dev/null),unknown)
PLATFORMS ?= linux-amd64 linux-arm64 darwin-amd64 darwin-arm64 windows-amd64 windows-arm64
DIST      ?= bin/dist
dist: export GOFLAGS =
dist: export CGO_ENABLED = 0
dist:
	rm -rf $(DIST) $(DIST).tmp
	mkdir -p $(DIST) $(DIST).tmp
	cd $(DIST).tmp && mkdir -p share/man/man1 share/bash-completion/completions share/zsh/site-functions share/fish/vendor_completions.d
	go build $(RELEASE) -o $(DIST).tmp/rediam ./cmd/rediam
	cd $(DIST).tmp && ./rediam man share/man/man1
	cd $(DIST).tmp && ./rediam completion bash >share/bash-completion/completions/rediam
	cd $(DIST).tmp && ./rediam completion zsh >share/zsh/site-functions/_rediam
	cd $(DIST).tmp && ./rediam completion fish >share/fish/vendor_completions.d/rediam.fish
	for platform in $(PLATFORMS); do \
	  name=rediam-$(VERSION)-$$platform; dir=$(DIST).tmp/$$name; kind=tar.gz; exe=; \
	  case $$platform in windows-*) kind=zip; exe=.exe;; esac; \
	  mkdir $$dir && cp LICENSE CHANGELOG.md $$dir && cp -R $(DIST).tmp/share $$dir && \
	  GOOS=$${platform%-*} GOARCH=$${platform#*-} go build $(RELEASE) -o $$dir/bin/rediam$$exe ./cmd/rediam && \
	  $(SBOM) -output $(DIST)/$$name.cdx.json $$dir/bin/rediam$$exe && \
	  go run ./cmd/pack $(DIST)/$$name.$$kind $$dir || exit; \
	done
	for arch in amd64 arm64; do \
	  name=rediam-rotate-$(VERSION)-lambda-$$arch; \
	  $(MAKE) lambda LAMBDA_ARCH=$$arch LAMBDA_OUT=$(DIST).tmp && \
	  $(SBOM) -output $(DIST)/$$name.cdx.json $(DIST).tmp/lambda/bootstrap && \
	  mv $(DIST).tmp/rediam-rotate.zip $(DIST)/$$name.zip || exit; \
	done
	cd $(DIST) && sha256sum * >SHA256SUMS
	rm -rf $(DIST).tmp
RELEASE = -trimpath -buildvcs=false -ldflags '-s -w -buildid= -X main.release=$(VERSION) -X main.revision=$(COMMIT)'
SBOM    = GOFLAGS=-trimpath go run github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0 bin -json -noserial -notimestamp -std -version $(VERSION)

# What a release has to be, on Linux: built again in another folder it is the same (two
# platforms stand for all), it is installed as docs/install.md says, and its program runs
# in an empty root, with a /tmp where that page says so.
dist-check: dist
	set -e; dir=$$(mktemp -d); trap "rm -rf $$dir" EXIT; mkdir $$dir/source $$dir/root; \
	platform=linux-$$(go env GOHOSTARCH); \
	{ git ls-files 2>/dev/null || find . -type f ! -path './bin/*' ! -path '*/node_modules/*'; } | tar -cf - -T - | tar -xf - -C $$dir/source; \
	$(MAKE) -C $$dir/source dist VERSION=$(VERSION) COMMIT=$(COMMIT) DIST=$$dir/again PLATFORMS="$$platform windows-arm64"; \
	rm $$dir/again/SHA256SUMS; \
	for file in $$dir/again/*; do cmp $$file $(DIST)/$${file##*/}; done; \
	sed -n '/^```sh/,/^```$$/{/^```/!p}' docs/install.md >$$dir/install; \
	cp $(DIST)/SHA256SUMS $$dir/again; \
	(cd $$dir/again && HOME=$$dir version=$(VERSION) platform=$$platform sh -eux $$dir/install); \
	cp $$dir/.local/bin/rediam $$dir/root; \
	run() { env -i AWS_ACCESS_KEY_ID=AKIDEXAMPLE AWS_SECRET_ACCESS_KEY=secret unshare --map-root-user --root=$$dir/root /rediam "$$@"; }; \
	run version | grep -F '$(VERSION) (commit $(COMMIT))'; \
	run token --help >/dev/null; \
	run token --cache orders --user orders-app --region eu-west-1 | run inspect; \
	mkdir $$dir/root/tmp; \
	run demo --once --engine embedded >/dev/null

test: lint unit clients fuzz

lint:
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "gofmt -w $$unformatted"; exit 1; }
	go vet ./...
	go run $(STATICCHECK) ./...

# Tests wait more than they compute: three packages at once are faster on two cores, too.
# internal/setup has one goroutine, and makes several hundred accounts.
unit:
	$(MAKE) -j 2 unit-race unit-setup
unit-race:
	go test -race -p 3 -timeout 15m $$(go list ./... | grep -v /internal/setup$$)
unit-setup:
	go test ./internal/setup

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
# emulator that is killed over and over, 100 rotations of each kind of password under
# 50 clients.
soak:
	REDIAM_SOAK=100 go test -race -count=1 -timeout 30m -run Soak -v ./internal/soak
	REDIAM_STORM=5000 go test -count=1 -timeout 30m -run Storm -v ./internal/soak
	REDIAM_PROXY_SOAK=75 go test -count=1 -timeout 30m -run Proxy -v ./internal/soak
	REDIAM_VISITS=100000 go test -count=1 -timeout 30m -run SeesAnother -v ./internal/proxy
	REDIAM_ACL_RUNS=250 go test -count=1 ./internal/acl
	REDIAM_ROTATIONS=100 go test -count=1 -timeout 30m -run 'Under50|WhileThePassword' -v ./rotate ./password
	REDIAM_CALLS=20000 go test -count=1 -timeout 30m -run Killed -v ./cmd/rediam
	$(MAKE) fuzz FUZZ=Fuzz FUZZTIME=2000000x
