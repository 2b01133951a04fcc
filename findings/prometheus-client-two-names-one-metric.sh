#!/usr/bin/env bash
# prometheus-client: two metrics of one registry are exposed under one name, and the page is invalid.
#
# Expected: since UTF-8 names are allowed, either "jobs.done" is exposed as it is called (quoted), or
#   registering "jobs_done" beside it is refused, as any duplicate is.
# What happens: both are registered. For a scraper that does not ask for UTF-8 each character outside
#   the old alphabet is written as "_", after the registry's check for duplicates. The page has two
#   blocks named jobs_done, and promtool refuses all of it.
# Why it matters: the first metric with a dot can break the scraping of one that was there for years,
#   and no test that looks at the registry sees it.
# Seen with: prometheus-client 0.26.0; promtool 2.42.0 of Debian's package prometheus.
set -euo pipefail

command -v promtool >/dev/null || { echo "promtool is needed (Debian: prometheus)" >&2; exit 2; }
promtool --version 2>&1 | head -n 1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check prometheus-client==0.26.0

venv/bin/python - >page.txt <<'PY'
from prometheus_client import CollectorRegistry, Gauge, generate_latest

registry = CollectorRegistry()
Gauge("jobs.done", "With a dot", registry=registry).set(1)
Gauge("jobs_done", "With an underscore", registry=registry).set(2)
print(generate_latest(registry).decode(), end="")
PY

echo "expected: DuplicateTimeseries, or two names"
echo "seen:" && cat page.txt
diff page.txt - <<'TXT'
# HELP jobs_done With a dot
# TYPE jobs_done gauge
jobs_done 1.0
# HELP jobs_done With an underscore
# TYPE jobs_done gauge
jobs_done 2.0
TXT
if promtool check metrics <page.txt 2>error.txt; then
  echo "behaviour changed: promtool takes the page" >&2
  exit 1
fi
cat error.txt
grep -q 'second HELP line for metric name "jobs_done"' error.txt
