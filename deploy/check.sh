#!/usr/bin/env bash
# Checks everything in deploy/ and every script, as far as that is possible without a container runtime.
#
# All checks run; the exit code is 1 if one of them fails.
# shellcheck disable=SC2317 # `check` calls the functions by their names.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tests/servers/ensure.sh

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0

# Runs a check in silence, and shows what it said when it fails. In the background, since bash ignores `set -e` in what stands
# after an `if`.
check() {
    local name=$1
    shift
    "$@" >"$scratch/said" 2>&1 &
    if wait "$!"; then
        echo "ok      $name"
    else
        echo "FAILED  $name"
        sed 's/^/        /' "$scratch/said"
        failed=1
    fi
}

scripts() {
    shellcheck -x -P . deploy/*.sh tests/servers/*.sh tests/browser/*.sh .ci/run
}

# Long lines are for the formatter of whoever writes them; a key that stands twice silently loses one of its values.
yaml_files() {
    yamllint -s -d '{extends: default, rules: {line-length: {max: 140}, document-start: disable,
        braces: {max-spaces-inside: 0}, truthy: {check-keys: false}}}' deploy
}

# Debian's own python, which has the package; another one on the PATH has not.
compose() {
    /usr/bin/python3 deploy/check_compose.py
    ! docker compose version >/dev/null 2>&1 || {
        deploy/secrets.sh "$scratch/secrets"
        sed "s|\./secrets/|$scratch/secrets/|" deploy/compose.yaml >"$scratch/compose.yaml"
        docker compose --project-directory deploy -f "$scratch/compose.yaml" config --quiet
    }
}

# The secrets that are made must be those that are mounted, hold together, and survive a second run.
secrets() {
    deploy/secrets.sh "$scratch/made"
    diff <(ls deploy/secrets.example) <(ls "$scratch/made")
    grep -qF "$(cat "$scratch/made/postgres_password")" "$scratch/made/database_url"
    cp -r "$scratch/made" "$scratch/again"
    deploy/secrets.sh "$scratch/again"
    diff -r "$scratch/made" "$scratch/again"
}

# Every metric that an alert asks for must be one that the code has; a renamed one would never fire again.
metrics() {
    local name names missing=0
    mapfile -t names < <(grep -oE 'treehook_[a-z_]+' deploy/prometheus/rules.yaml | sed -E 's/_bucket$//' | sort -u)
    for name in "${names[@]}"; do
        grep -rqF "\"$name\"" crates --include '*.rs' || {
            echo "no code emits $name"
            missing=1
        }
    done
    return "$missing"
}

# Each alert says what to do, and stands in a case of tests.yaml.
alerts() {
    /usr/bin/python3 - <<'PYTHON'
import sys, yaml
rules = yaml.safe_load(open("deploy/prometheus/rules.yaml"))
cases = open("deploy/prometheus/tests.yaml").read()
alerts = [rule for group in rules["groups"] for rule in group["rules"] if "alert" in rule]
lacking = [f"{a['alert']}: no {key}" for a in alerts for key in ("summary", "description", "remedy") if key not in a["annotations"]]
lacking += [f"{a['alert']}: severity?" for a in alerts if a["labels"].get("severity") not in ("critical", "warning")]
lacking += [f"{a['alert']}: no case fires it" for a in alerts if f'alertname="{a["alert"]}"' not in cases]
sys.exit("\n".join(lacking) or 0)
PYTHON
}

# What a linter would say first: a user that is a number and not root, exec forms, pinned images, sources that exist.
dockerfile() {
    local file=deploy/Dockerfile image images source sources missing=0
    mapfile -t images < <(awk '/^FROM/ { print $2 }' "$file")
    mapfile -t sources < <(awk '/^COPY/ && !/--from/ { for (i = 2; i < NF; i++) if ($i !~ /^--/) print $i }' "$file")
    grep -qE '^USER [1-9][0-9]*(:[1-9][0-9]*)?$' "$file" || { echo "the user is not a number above 0"; missing=1; }
    grep -qE '^ENTRYPOINT \["treehook"\]$' "$file" || { echo "the entry point is not in exec form"; missing=1; }
    for image in "${images[@]}"; do
        [[ $image == *:* && $image != *:latest ]] || { echo "$image is not pinned"; missing=1; }
    done
    for source in "${sources[@]}"; do
        [ -e "$source" ] || { echo "COPY $source: not there"; missing=1; }
    done
    return "$missing"
}

# The binary is not installed here, so the unit starts another one while it is looked at.
unit() {
    sed 's|^ExecStart=/usr/local/bin/treehook|ExecStart=/bin/true|' deploy/systemd/treehook.service >"$scratch/treehook.service"
    systemd-analyze verify "$scratch/treehook.service"
    # From 0 (locked up) to 10 (as open as root), in tenths.
    systemd-analyze security --offline=true --threshold=15 "$scratch/treehook.service"
}

check "scripts (shellcheck)" scripts
check "YAML (yamllint)" yaml_files
check "compose.yaml" compose
check "secrets" secrets
check "Dockerfile" dockerfile
check "systemd unit" unit
check "Prometheus configuration" promtool check config deploy/prometheus/prometheus.yaml
check "Prometheus rules" promtool check rules deploy/prometheus/rules.yaml
check "Prometheus rules, cases" promtool test rules deploy/prometheus/tests.yaml
check "alerts have remedies and cases" alerts
check "alerts ask for metrics that exist" metrics
exit "$failed"
