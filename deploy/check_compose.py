"""Checks what `docker compose config` would and what it would not: every name in compose.yaml leads somewhere, and every
service has its limits. Run by check.sh; prints each mistake, and fails if there is one."""

import pathlib
import re
import sys
import tomllib

import yaml

DEPLOY = pathlib.Path(__file__).parent
# Draining takes up to 30 s, and Docker kills after the grace period.
GRACE_SECONDS_MIN = 35
# Compose has neither of these for a service that ends.
ONE_SHOT = {"migrate"}

compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
prometheus = yaml.safe_load((DEPLOY / "prometheus/prometheus.yaml").read_text())
services = compose["services"]
mistakes = []


def expect(holds, mistake):
    if not holds:
        mistakes.append(mistake)


def check_limits(name, service):
    for key in ("restart", "mem_limit"):
        expect(key in service, f"{name}: no {key}")
    expect(name in ONE_SHOT or "healthcheck" in service, f"{name}: no healthcheck")
    image = service.get("image", "")
    pinned = re.search(r":[\w.-]*\d[\w.-]*$", image)
    expect(pinned or "build" in service, f"{name}: the image {image} is not pinned to a version")
    if "build" in service:
        grace = service.get("stop_grace_period", "10s")
        expect(int(grace.removesuffix("s")) >= GRACE_SECONDS_MIN, f"{name}: is killed before it has drained ({grace})")
        context = (DEPLOY / service["build"]["context"]).resolve()
        dockerfile = context / service["build"]["dockerfile"]
        expect(dockerfile.is_file(), f"{name}: there is no {dockerfile}")


def check_references(name, service):
    for other, how in service.get("depends_on", {}).items():
        expect(other in services, f"{name}: depends on {other}, which is no service")
        if how["condition"] == "service_healthy":
            expect("healthcheck" in services.get(other, {}), f"{name}: waits for the health of {other}, which has no healthcheck")
        if how["condition"] == "service_completed_successfully":
            expect(other in ONE_SHOT, f"{name}: waits for the end of {other}, which does not end")
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        if source.startswith("."):
            expect((DEPLOY / source).exists(), f"{name}: mounts {source}, which is not there")
        else:
            expect(source in compose["volumes"], f"{name}: the volume {source} is not declared")
    granted = {secret if isinstance(secret, str) else secret["source"] for secret in service.get("secrets", [])}
    for secret in granted:
        expect(secret in compose["secrets"], f"{name}: the secret {secret} is not declared")
    for variable, value in service.get("environment", {}).items():
        if variable.endswith("_FILE"):
            read = value.removeprefix("/run/secrets/")
            expect(read in granted, f"{name}: {variable} reads {value}, which is not among its secrets")


def check_ports():
    published = [port.rsplit(":", 1)[0].split(":")[-1] for service in services.values() for port in service.get("ports", [])]
    for port in set(published):
        expect(published.count(port) == 1, f"two services publish port {port}")
    expect("ports" not in services["worker"], "worker: publishes a port, so it cannot be scaled")
    expect("container_name" not in services["worker"], "worker: has a fixed name, so it cannot be scaled")


def check_examples():
    for secret, at in compose["secrets"].items():
        example = DEPLOY / "secrets.example" / pathlib.Path(at["file"]).name
        expect(example.is_file(), f"the secret {secret} has no example {example.relative_to(DEPLOY)}")


def check_scraping():
    for job in prometheus["scrape_configs"]:
        for discovery in job.get("dns_sd_configs", []):
            for name in discovery["names"]:
                expect(name in services, f"prometheus.yaml scrapes {name}, which is no service")
    scraped = {name for job in prometheus["scrape_configs"] for d in job.get("dns_sd_configs", []) for name in d["names"]}
    for name, service in services.items():
        if "build" in service and name not in ONE_SHOT:
            expect(name in scraped, f"prometheus.yaml does not scrape {name}")


def check_settings():
    """The example of the settings must be TOML as it stands and with every setting taken out of its comment."""
    text = (DEPLOY / "treehook.toml").read_text()
    expect(tomllib.loads(text) == {}, "treehook.toml sets something as it stands")
    settings = tomllib.loads(re.sub(r"(?m)^#(?=\S)", "", text))
    known = {name.removeprefix("TREEHOOK_").removesuffix("_FILE").lower() for service in services.values()
             for name in service.get("environment", {}) if name.startswith("TREEHOOK_")}
    for name in known:
        expect(name in settings, f"treehook.toml does not show `{name}`, which compose.yaml sets")


for name, service in services.items():
    check_limits(name, service)
    check_references(name, service)
check_ports()
check_examples()
check_scraping()
check_settings()
for mistake in mistakes:
    print(f"deploy: {mistake}", file=sys.stderr)
sys.exit(1 if mistakes else 0)
