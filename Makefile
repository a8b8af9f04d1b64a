# `make help` lists the targets.

GO      ?= go
FUZZTIME ?= 10s
SEEDS   ?= 2000
CASES   ?= 10000
FROM    ?= 1
SOAK    ?= 10m
FAULTS  ?= 2
ALIKE   ?= 3
MOVES   ?= 200
COMPOSE ?= $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose) -f deploy/compose/compose.yaml -p go-cluster

# Packages that run whole clusters; `make check` leaves them to `make test`.
WHOLE := /chaos$$|/sim$$|/bench$$|/cmd/go-cluster$$
STATIC := CGO_ENABLED=0 $(GO) build -trimpath

.DEFAULT_GOAL := help
.PHONY: help
help: ## This list
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / {printf "  %-14s %s\n", $$1, $$2}' Makefile

.PHONY: build
build: ## One static binary: bin/go-cluster
	$(STATIC) -o bin/go-cluster ./cmd/go-cluster

.PHONY: check
check: ## Format, vet, staticcheck, architecture and unit tests: seconds, before every commit
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "not formatted:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) test -short . $$($(GO) list ./... | grep -vE '$(WHOLE)')

# Packages whose tests run in synctest bubbles. The race detector keeps one context for all timers of a bubble, and the runtime
# (go1.26) lets two processors use it at once, which can crash the test binary: these packages get one processor each.
BUBBLES = $$($(GO) list -test -f '{{.ImportPath}}{{range .Deps}} {{.}}{{end}}' ./... | sed -n 's|^\([^ ]*\)\.test .* testing/synctest .*|\1|p')

.PHONY: test
test: ## Everything with the race detector, and 2,000 seeds without, as CI runs it: minutes
	@bubbles="$(BUBBLES)"; rest=$$($(GO) list ./... | grep -vxF "$$bubbles"); export CGO_ENABLED=1; set -x; \
	$(GO) test -race -timeout 30m -cpu 1 $$bubbles && $(GO) test -race -timeout 30m $$rest
	$(MAKE) sim SEEDS=2000 CUTS=

.PHONY: race
race: ## The race detector over one package, ten times: make race PKG=./events
	CGO_ENABLED=1 $(GO) test -race -count 10 $(or $(PKG),./events ./projections ./transport)

.PHONY: demo
demo: build ## A cluster on embedded NATS that plays and checks the workflows of the README
	bin/go-cluster demo

.PHONY: fuzz
fuzz: ## Each fuzz target for FUZZTIME (10s)
	@for dir in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
		for target in $$(grep -rhoE '^func Fuzz[A-Za-z0-9_]+' $$dir/*_test.go | cut -c6- | sort); do \
			echo "== $$dir $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$dir || exit 1; \
		done; \
	done

.PHONY: switchover
switchover: ## MOVES planned moves (200) under writes of each kind of data: what was lost, and the pauses beside their floors
	$(GO) test ./chaos -run '^TestSwitchover$$' -chaos.moves $(MOVES) -timeout 30m -v

.PHONY: chaos
chaos: ## Real processes killed and stopped at every step: all of it, not CI's sample
	$(GO) test -count 1 -timeout 2h -v ./chaos -chaos.all

.PHONY: sim
sim: CUTS ?= -sim.cuts
sim: ## SEEDS (2000) random scenarios of whole clusters in virtual time, on all processors, and one whose log is cut everywhere
	$(GO) test -count 1 -timeout 12h -v ./sim -run '^(TestSeeds|TestTruncatedLog)$$' $(CUTS) -sim.seeds $(SEEDS) -sim.from $(FROM)

.PHONY: soak
soak: FROM = $$(( $$(date +%s) * 100000 ))
soak: ## Random scenarios, others with every run, for SOAK (10m), and real processes killed for as long
	$(GO) test -count 1 -timeout 0 -v ./sim -run '^TestSeeds$$' -sim.seeds 1000000000 -sim.from $(FROM) -sim.for $(SOAK)
	$(GO) test -count 1 -timeout 0 -v ./chaos -run '^TestStorm$$' -chaos.for $(SOAK) -chaos.seed $(FROM)

.PHONY: model
model: ## Every order of events of small clusters, with FAULTS (2) of any kind on one path, and with ALIKE (3) of one kind
	GOGC=400 $(GO) test -count 1 -timeout 12h -v ./sim -run '^TestModel' -sim.model $(FAULTS) -sim.model-alike $(ALIKE) -sim.model-ticks 6 -sim.model-for 30m

.PHONY: malformed
malformed: ## CASES (10000) damaged requests to each endpoint of a running cluster, each answered within a second
	$(GO) test -count 1 -timeout 2h -v ./cmd/go-cluster -run '^TestMalformedInput$$' -malformed $(CASES)

.PHONY: rules
rules: ## Each rule of the protocol: the code without it must fail a test
	$(GO) run ./cmd/hunt -rules

.PHONY: bugs
bugs: ## Each planted mistake must be caught by the law that it breaks
	$(GO) run ./cmd/hunt

.PHONY: properties
properties: ## CASES (10000) random states for each property of plans; 1000 changes that nothing may oscillate through
	$(GO) test -count 1 -timeout 2h ./placement/flow -placement.cases $(CASES) -placement.textbook $(CASES)
	$(GO) test -count 1 -timeout 2h -v ./placement/engine -run 'Test' -placement.cases $(CASES) -placement.perturbations 1000

.PHONY: bench
bench: ## Every benchmark
	$(GO) test -run '^$$' -bench . -benchmem $$(grep -rl --include='*_test.go' '^func Benchmark' . | xargs -n1 dirname | sort -u)

.PHONY: roadef
roadef: ## The placement search on the ROADEF challenge: DATA=folder of its files, TIME (10s) each, SEED (1)
	@test -n "$(DATA)" || { echo "make roadef DATA=folder [TIME=10s] [SEED=1] [ARGS='-cpu -instances b_1,b_2']"; exit 2; }
	@$(GO) run ./cmd/roadef -data "$(DATA)" -time $(or $(TIME),10s) -seed $(or $(SEED),1) $(ARGS)

.PHONY: golden
golden: ## Golden files for new event types; a file that is there is never changed
	$(GO) test -count 1 ./events -run '^TestGolden' -add-golden

.PHONY: cover
cover: ## Coverage by function in bin/cover.txt, the total on the terminal
	@mkdir -p bin
	$(GO) test -short -coverpkg=./... -coverprofile bin/cover.out $$($(GO) list ./... | grep -vE '$(WHOLE)')
	@$(GO) tool cover -func bin/cover.out > bin/cover.txt && tail -1 bin/cover.txt

.PHONY: compose-build
compose-build: ## Images for Docker Compose, from static binaries; nothing is pulled
	$(STATIC) -o deploy/compose/bin/go-cluster ./cmd/go-cluster
	$(STATIC) -o deploy/compose/bin/nats-server github.com/nats-io/nats-server/v2
	$(COMPOSE) build

.PHONY: compose-up
compose-up: build compose-build ## NATS, the services and two nodes on Docker Compose
	$(COMPOSE) up -d

.PHONY: compose-down
compose-down: ## Stop them and remove their volumes
	$(COMPOSE) down -v

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin deploy/compose/bin
