# The two commands: `make up` brings the platform up on the lab's hosts,
# `make test` proves it. Everything that takes long is kept in $(CACHE).

CACHE := $(HOME)/.cache/halinux
PULUMI_VERSION := $(shell awk '$$1 == "github.com/pulumi/pulumi/pkg/v3" {print $$2}' tools/go.mod)
ifndef START
export START := $(shell date +%s)
endif
step = @printf '[%3d s] %s\n' $$(($$(date +%s) - $(START)))

export PATH := $(CACHE)/pulumi-$(PULUMI_VERSION):$(PATH)
export PULUMI_SKIP_UPDATE_CHECK := true
# Each module by its own go.mod; go.work is for who types `go run ./app/todo`.
export GOWORK := off
# Of which code figures are.
export HALINUX_COMMIT := $(shell git describe --always --dirty --abbrev=12 2>/dev/null)
# lab is the platform without its cluster; STACK=kubernetes has that and no
# storage; STACK=platform has both, and what runs in the cluster. Each has groups
# of hosts that the lab brings up for it.
STACK ?= lab
LAB_GROUPS = $(patsubst lab,storage,$(patsubst platform,storage kubernetes platform,$(STACK)))
# The lab's stack keeps its state beside the lab's hosts.
LAB_STACK = PULUMI_BACKEND_URL=file://$$(readlink -f .lab)/state PULUMI_CONFIG_PASSPHRASE_FILE=$$(readlink -f .lab)/passphrase
HALINUX = $(LAB_STACK) bin/lab exec -- bin/halinux -s $(STACK) -work .lab/project

# The fault scenarios of make test: all that FAULTS.md lists for the controller,
# the hosts, the edge and the storage, but C6 (slow, and a matter of time alone). It and those
# of tests/e2e/unlisted_test.go are part of make report, or of SCENARIOS=. here.
SCENARIOS ?= ^(C[1-5]|C7|C8|C9|C10|F[0-9]+|F12acme|F2fast|bond|reboot|storage-reboot|projects)$$

# When a run of scenarios that hangs is ended.
E2E_WITHIN ?= 90m

# Debian packages that the tests need on the controller; the lab names its own.
PACKAGES := openssh-client openssh-server shellcheck yamllint

.PHONY: help up status storage-proof kubernetes-proof platform-proof preview preflight diff destroy drift outputs lab-up lab-down lab-status \
	test test-fast lint unit lab-test e2e e2e-programs report merge bench bench-cluster bench-faults clean \
	setup pulumi binaries bundle bundle-ready conformance mariadb-root galera-test

help:
	@echo 'make up         bring the platform up on the lab (needs root)'
	@echo 'make test       prove it: all tests, the lab included; make test-fast stops before the lab'
	@echo 'make preview    what would change; make diff shows every line'
	@echo 'make drift      what differs on the hosts from what up left there (exit 2)'
	@echo 'make destroy    undo the platform; make lab-down ends the hosts'
	@echo 'make status     the lab, and how its storage is'
	@echo 'make report     faults and benchmarks, written to docs/report.md'
	@echo 'make bundle     Kubernetes without the internet; PROGRAMS=DIR has ready programs'
	@echo 'make galera-test  the database with three real servers (needs root)'
	@echo 'make clean      remove $(CACHE)'

up: lab-up
	$(step) 'bringing the platform up'
	@$(HALINUX) up
	@for group in $(LAB_GROUPS); do $(MAKE) --no-print-directory $$group-proof || exit 1; done
	$(step) 'the platform stands'
	@echo 'try:  bin/lab ssh client curl -sk --resolve www.lab.halinux.test:443:198.51.100.10 https://www.lab.halinux.test/'
	@echo '      bin/lab crash edge1 (a power cut), the same again, then bin/lab restart edge1'
	@echo '      make drift, make preview, bin/lab status, make test'

preview: lab-up
	@$(HALINUX) preview
diff: lab-up
	@$(HALINUX) -diff preview
destroy: lab-up
	@$(HALINUX) destroy
preflight: lab-up
	@$(HALINUX) preflight
drift: lab-up
	@$(HALINUX) drift
outputs: lab-up
	@$(HALINUX) outputs

lab-up: setup pulumi binaries
	$(step) 'starting the lab'
	@bin/lab setup
	@case ' $(LAB_GROUPS) ' in *' kubernetes '*) $(MAKE) --no-print-directory bundle ;; esac
	@bin/lab image $(LAB_GROUPS)
	@bin/lab up $(LAB_GROUPS)
	@[ -e .lab/passphrase ] || (umask 077; head -c 24 /dev/urandom | base64 >.lab/passphrase)
	@mkdir -p .lab/state
lab-down: binaries
	@bin/lab down
lab-status: binaries
	@bin/lab status
# One client writes a file through the VIP, the other reads it.
storage-proof:
	$(step) 'a file through the storage'
	@what=$$($(HALINUX) outputs storageMounts.home) && how=$$($(HALINUX) outputs storageMountOptions) && \
	mount="findmnt -n /mnt/home >/dev/null || { mkdir -p /mnt/home; mount -t nfs -o $$how $$what /mnt/home; }" && bin/lab ssh nfsclient1 \
		"set -e; $$mount; echo 'written by nfsclient1' >/mnt/home/proof.new; sync /mnt/home/proof.new; mv /mnt/home/proof.new /mnt/home/proof" && \
	bin/lab ssh nfsclient2 "set -e; $$mount; cat /mnt/home/proof"
# Two pods answer through the ingress controller, HAProxy and a VIP.
kubernetes-proof:
	$(step) 'two pods, asked from the other side of the provider'
	@bin/lab ssh master1 'set -e; export KUBECONFIG=/etc/kubernetes/admin.conf; kubectl apply -f -; kubectl -n hello rollout status deployment/hello --timeout=120s' <lab/workloads/hello.yaml
	@bin/lab ssh client 'for i in 1 2 3 4; do curl -sSk --fail --retry 20 --retry-all-errors --retry-delay 1 --retry-max-time 60 --resolve apps.lab.halinux.test:443:198.51.100.10 https://apps.lab.halinux.test/; done'
# The application's pods, asked from there too.
platform-proof:
	$(step) 'the application, asked from the other side of the provider'
	@bin/lab ssh client 'curl -sSk --fail --retry 60 --retry-all-errors --retry-delay 2 --retry-max-time 240 -o /dev/null --resolve todo.lab.halinux.test:443:198.51.100.10 https://todo.lab.halinux.test/'
	@echo "the application: $$($(HALINUX) outputs todoUrl)"
status: lab-status
	@case $(STACK) in lab | platform) ;; *) exit 0 ;; esac; { host=$$($(HALINUX) outputs storageHosts.0) && bin/lab ssh "$$host" halinux-storage status; }

binaries:
	$(step) 'building halinux and the lab'
	@go build -o bin/ ./cmd/halinux ./lab/cmd/lab

# A pulumi on PATH fits when it is as new as the SDK; else the pinned one is
# built from its module.
pulumi:
	@have=$$(pulumi version 2>/dev/null) || have=none; \
	if [ "$$have" != none ] && [ "$$(printf '%s\n%s\n' '$(PULUMI_VERSION)' "$$have" | sort -V | head -n 1)" = '$(PULUMI_VERSION)' ]; then exit 0; fi; \
	printf '[%3d s] %s\n' $$(($$(date +%s) - $(START))) 'building the Pulumi CLI $(PULUMI_VERSION) from its module (once; up to half an hour)'; \
	mkdir -p '$(CACHE)/pulumi-$(PULUMI_VERSION)'; \
	CGO_ENABLED=0 go build -C tools -trimpath -o '$(CACHE)/pulumi-$(PULUMI_VERSION)/pulumi.new' \
		-ldflags '-s -w -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=$(PULUMI_VERSION)' \
		github.com/pulumi/pulumi/pkg/v3/cmd/pulumi && \
	mv '$(CACHE)/pulumi-$(PULUMI_VERSION)/pulumi.new' '$(CACHE)/pulumi-$(PULUMI_VERSION)/pulumi'

# What a cluster is made of, as any web server can serve it. Programs that
# PROGRAMS (a folder) lacks are built from their modules, once: about an hour.
# bundle-ready builds none: it makes the bundle of what is at hand and verifies the
# one that is there, or says SKIP and what is missing.
bundle:
	$(step) 'making the bundle'
	@go run ./cmd/bundle $(if $(PROGRAMS),-programs '$(PROGRAMS)')
bundle-ready:
	$(step) 'the bundle, of the programs at hand'
	@go run ./cmd/bundle -ready $(if $(PROGRAMS),-programs '$(PROGRAMS)')

# Upstream's conformance tests against the lab's cluster, in hours. Their program
# and their images are built once, in about an hour.
conformance: STACK = kubernetes
conformance: SCENARIOS = ^conformance$$
conformance: setup pulumi
	$(step) "making upstream's conformance tests"
	@go run ./cmd/bundle -conformance $(if $(PROGRAMS),-programs '$(PROGRAMS)')
	@HALINUX_FULL=1 $(MAKE) --no-print-directory e2e STACK=kubernetes SCENARIOS='$(SCENARIOS)' E2E_WITHIN=8h

# Three real MariaDB servers on loopback, of what the image is made of (needs root).
MARIADB := $(CACHE)/mariadb-root
mariadb-root:
	@[ -e '$(MARIADB)/.whole' ] || { rm -rf '$(MARIADB)'; mkdir -p '$(MARIADB)'; go run ./cmd/bundle -mariadb '$(MARIADB)' && touch '$(MARIADB)/.whole'; }
galera-test: mariadb-root
	$(step) 'the database, with real servers'
	@HALINUX_MARIADB='$(MARIADB)' go test ./cmd/galera-node -run TestCluster -count=1 -v -timeout 30m

setup:
	@missing=; for p in $(PACKAGES); do \
		dpkg-query -W -f '$${db:Status-Status}' $$p 2>/dev/null | grep -qx installed || missing="$$missing $$p"; done; \
	[ -z "$$missing" ] || { \
		printf '[%3d s] %s\n' $$(($$(date +%s) - $(START))) "installing$$missing"; \
		[ "$$(id -u)" = 0 ] || { echo "make needs root to install packages and to run the lab" >&2; exit 1; }; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$missing >/dev/null; }

# The lab's own test waits for hosts, the others for the processor.
test: lint
	@$(MAKE) --no-print-directory -j2 unit lab-test
	@$(MAKE) --no-print-directory e2e
	$(step) 'all tests have passed'

test-fast: lint unit

lint: setup
	$(step) 'go vet, staticcheck, shellcheck, yamllint'
	@go vet ./...
	@go build -C tools -o $(CURDIR)/bin/staticcheck honnef.co/go/tools/cmd/staticcheck
	@bin/staticcheck ./...
	@cd app/todo && go vet ./... && ../../bin/staticcheck ./...
	@git ls-files -z -- '*.sh' | xargs -0 shellcheck -s sh -x
	@git ls-files -z -- '*.yaml' '*.yml' | xargs -0 yamllint -s

unit: setup pulumi
	$(step) 'unit, mocks, golden previews, contract'
	@go test ./...
	@go -C app/todo test ./...

lab-test: setup
	$(step) 'the lab itself, on a lab of its own'
	@HALINUX_E2E=1 go test ./lab -run TestLab -short -count=1 -v

e2e: up e2e-programs
	$(step) 'end to end on the lab'
	@$(LAB_STACK) HALINUX_E2E=1 HALINUX_STACK=$(STACK) bin/lab exec -- bin/e2e.test -test.v -test.timeout $(E2E_WITHIN) -test.run '/$(SCENARIOS)'
e2e-programs:
	@go test -c -o bin/e2e.test ./tests/e2e
	@go build -C tools -o $(CURDIR)/bin/pebble github.com/letsencrypt/pebble/v2/cmd/pebble

# A lab of its own, so that both tools start on the same fresh hosts.
bench: setup pulumi binaries
	$(step) 'benchmarks: the same work by Ansible and by halinux, then simulated hosts and workers'
	@go build -o bin/ ./tests/bench
	@failed=; \
	bin/bench -runs $${HALINUX_BENCH_RUNS:-5} ansible || failed=yes; \
	bin/bench hosts || failed=yes; \
	[ -z "$$failed" ]

# Every scenario, as often as FAULTS.md asks, then the benchmarks on a machine
# that does nothing else. Whatever ends it, the figures taken so far are merged;
# after a kill -9 `make merge RESULTS=...` does it, and `make report RESULTS=...`
# adds to them.
ifndef RESULTS
RESULTS := $(CACHE)/results/$(shell date -u +%Y%m%dT%H%M%S).jsonl
endif
report: SCENARIOS = .
report: up e2e-programs
	$(step) 'all fault scenarios, then the benchmarks; figures go to $(RESULTS)'
	@go build -o bin/ ./tests/report/cmd/report
	@mkdir -p '$(dir $(RESULTS))'; \
	export HALINUX_RESULTS='$(RESULTS)'; \
	trap 'trap "" INT TERM; bin/report' EXIT; trap 'exit 130' INT TERM; \
	failed=; \
	bin/bench workers || failed=", workers"; \
	$(LAB_STACK) HALINUX_E2E=1 HALINUX_STACK=$(STACK) HALINUX_FULL=1 HALINUX_RUNS=$${HALINUX_RUNS:-3} \
		bin/lab exec -- bin/e2e.test -test.v -test.timeout 6h -test.run '/$(SCENARIOS)' || failed="$$failed, scenarios"; \
	bin/lab down; \
	$(MAKE) --no-print-directory bench || failed="$$failed, benchmarks"; \
	[ -z "$$failed" ] || { echo "not all is well: $${failed#, }; the reasons are above, and what did not run is not in the report" >&2; exit 1; }

# The cluster from bare hosts, against kubeadm alone; it needs the bundle.
bench-cluster: setup pulumi binaries bundle
	$(step) 'benchmark: a cluster from bare hosts'
	@go build -o bin/ ./tests/bench
	@bin/bench cluster

# The storage's scenarios and fio's figures, each five times or more, in hours;
# the figures are for `make report RESULTS=...` or `make merge RESULTS=...`.
bench-faults: SCENARIOS = .
bench-faults: up e2e-programs
	$(step) 'the faults of the storage; figures go to $(RESULTS)'
	@mkdir -p '$(dir $(RESULTS))'
	@$(LAB_STACK) HALINUX_E2E=1 HALINUX_STACK=$(STACK) HALINUX_FULL=1 HALINUX_RESULTS='$(RESULTS)' HALINUX_RUNS=$${HALINUX_RUNS:-5} \
		bin/lab exec -- bin/e2e.test -test.v -test.timeout 12h -test.run 'TestStorage/$(SCENARIOS)'
	$(step) 'done; make merge RESULTS=$(RESULTS) makes the report of it'
merge:
	@go run ./tests/report/cmd/report -results '$(RESULTS)'

clean: lab-down
	rm -rf bin '$(CACHE)'
