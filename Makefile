# Each target does all of its own set-up, on Debian 12 and 13 with Debian's packages alone.

.PHONY: build install deb rpm run test test-packages test-container test-manifests test-clients test-matrix test-pythons test-django-suite test-distributions soak cluster-demo test-cluster soak-cluster fuzz bench bench-cluster docs fmt lint clean help lint-tools
.DEFAULT_GOAL := help

help:
	@echo 'make run     see a Django site whose users stay logged in (about a minute)'
	@echo 'make cluster-demo   the same on three hosts, while machines die (two minutes; needs Go, or a nats-server)'
	@echo 'make test    all tests, under plain, sanitizer and thread-sanitizer builds'
	@echo 'make build   build/stayd and build/stayctl, and build/venv with the Python package'
	@echo 'make install   programs, libstayd, manual pages, unit, configuration, under /usr/local; obeys DESTDIR'
	@echo 'make deb     Debian packages, in build/deb; make rpm: RPM packages, in build/rpm'
	@echo 'make test-cluster   clustered pools against three nodes of nats-server, which the Go proxy gives'
	@echo 'make soak-cluster   the same for half an hour or STAYD_SOAK_SECONDS: everything dies again and again'
	@echo 'make bench   measure stayd against memcached, Redis and Django'"'"'s stores (32 minutes; BENCH=--quick: 7)'
	@echo 'make bench-cluster   measure clustered pools against libnats alone (some minutes; BENCH=--quick)'
	@echo 'make soak    the tests of durability at length: crashes, power cuts, faults'
	@echo 'make fuzz    an hour of random input to all parsers; FUZZ_SECONDS: so many for each target'
	@echo 'make test-clients   clients and their suites from PyPI, npm, the Go proxy and Maven Central'
	@echo 'make test-matrix   the Django tests on newer Django versions, and Wagtail in Chromium, from PyPI'
	@echo 'make test-pythons   the Python extension on Python 3.9 to 3.14 and debug builds, from PATH or Debian'
	@echo 'make test-django-suite   Django'"'"'s own tests of sessions and memcached caches, from PyPI'
	@echo 'make test-distributions   make run and make test on new Debian 12 and 13 systems (root)'
	@echo 'make test-packages   install, upgrade, remove the Debian packages on new Debian systems (root)'
	@echo 'make test-container   build and try the container image, with buildah (root)'
	@echo 'make test-manifests   check the files for containers, Kubernetes and Grafana, with tools from PyPI and the Go proxy'
	@echo 'make wheel   a wheel and a source distribution of the Python package, in build/wheel'
	@echo 'make docs    draw docs/architecture.svg, and build the documents as a site in build/site (MkDocs, from PyPI)'
	@echo 'make lint, make fmt   check and mend the layout; clang, cppcheck, shellcheck, ruff, mypy'
	@echo 'make lint-tools   fetch ruff and mypy from PyPI into build/, for make lint'

build: build/build.ninja
	@scripts/compile build

build/build.ninja:
	@scripts/setup build
	@meson setup build -Dwerror=true > build/setup-meson.log 2>&1 || { cat build/setup-meson.log; exit 1; }

install: build
	@rm -f build/install.note
	@meson install -C build --no-rebuild
	@cat build/install.note 2>/dev/null || true

deb:
	@scripts/deb

rpm:
	@scripts/rpm

run:
	@scripts/setup run
	@$(MAKE) --no-print-directory build
	@build/venv/bin/python -B examples/demo/run.py

cluster-demo:
	@scripts/setup cluster
	@$(MAKE) --no-print-directory build
	@scripts/nats-server
	@build/venv/bin/python -B examples/demo/cluster_demo.py

test:
	@scripts/setup test
	@$(MAKE) --no-print-directory build
	@scripts/test

soak:
	@scripts/setup test
	@$(MAKE) --no-print-directory build
	@scripts/soak

test-cluster: build
	@scripts/nats-server
	@build/venv/bin/python -m pytest -c tests/pytest.ini -p no:cacheprovider -q tests/cluster

soak-cluster: build
	@scripts/nats-server
	@STAYD_SOAK_SECONDS=$${STAYD_SOAK_SECONDS:-1800} build/venv/bin/python -m pytest -c tests/pytest.ini -p no:cacheprovider -q -s tests/cluster/soak_*.py

test-clients: build
	@/usr/bin/python3 -B tests/clients/registry/run.py

fuzz:
	@scripts/setup test
	@$(MAKE) --no-print-directory build
	@scripts/fuzz

test-matrix: build
	@scripts/test-matrix

test-pythons: build
	@/usr/bin/python3 -B tests/pythons/run.py

test-django-suite: build
	@/usr/bin/python3 -B tests/django_suite/run.py

test-distributions:
	@scripts/test-distributions

test-packages:
	@scripts/test-packages

test-container:
	@scripts/test-container

test-manifests:
	@scripts/test-manifests

bench:
	@scripts/setup bench
	@$(MAKE) --no-print-directory build
	@[ -x build/bench/stayd-reads ] || { meson configure build -Dbench=true && scripts/compile build >build/setup-bench.log; }
	@build/venv/bin/python -B bench/run.py $(BENCH)

bench-cluster: build
	@scripts/nats-server || true
	@build/venv/bin/python -B bench/cluster.py $(BENCH)
	@build/venv/bin/python -B bench/cluster_model.py

wheel:
	@scripts/setup wheel
	@scripts/wheel

lint:
	@scripts/setup test
	@scripts/lint

lint-tools:
	@python3 -m venv --clear build/lint-tools
	@build/lint-tools/bin/pip --quiet --disable-pip-version-check install 'ruff~=0.17.0' 'mypy~=2.4.0'

docs:
	@scripts/setup docs
	@$(MAKE) --silent docs/architecture.svg
	@scripts/docs

docs/architecture.svg: docs/architecture.dot
	@dot -Tsvg docs/architecture.dot -o docs/architecture.svg

fmt:
	@scripts/format

clean:
	@rm -rf build
