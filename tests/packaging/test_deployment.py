"""The container image, the compose file and what it mounts."""

import asyncio
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from stream.config import load
from stream.core.catalogue import KPIS
from stream.metrics.families import families
from stream.metrics.server import MetricsServer
from stream.metrics.view import WorkerView
from stream.rules import exported
from tests.fixtures.prometheus import PrometheusTools
from tests.packaging.project import ROOT

DEPLOY = ROOT / "deploy"
#: What takes long is evaluated less often than it is in operation.
RULES_TESTS = ("rules_test.yml", "slow_rules_test.yml")
COMPOSE = ROOT / "docker-compose.yml"


def yaml(path: Path) -> Any:
    return YAML(typ="safe").load(path)


SERVICES: dict[str, dict[str, Any]] = yaml(COMPOSE)["services"]
each_service = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES.keys())


def mounts(service: dict[str, Any]) -> list[list[str]]:
    """Source, target and options of each volume."""
    return [volume.split(":") for volume in service.get("volumes", [])]


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    done = subprocess.run(
        command, cwd=cwd, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_compose_file_is_valid() -> None:
    check = "from check_jsonschema import main; main()"
    run(sys.executable, "-c", check, "--builtin-schema", "vendor.compose-spec", COMPOSE)
    content = yaml(COMPOSE)
    assert content["name"] == "cxkpi"
    assert "version" not in content


def test_it_has_the_services_that_are_promised() -> None:
    assert SERVICES.keys() == {
        "kafka",
        "worker",
        "generator",
        "prometheus",
        "alertmanager",
        "grafana",
    }
    assert {name for name, one in SERVICES.items() if "profiles" in one} == {"generator"}


@each_service
def test_ports_are_published_on_loopback_only(service: dict[str, Any]) -> None:
    for port in service.get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)
    assert "network_mode" not in service


@each_service
def test_every_service_has_a_health_check_and_no_rights_to_gain(service: dict[str, Any]) -> None:
    assert service["healthcheck"]["test"][0] == "CMD"
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service


@each_service
def test_images_are_pinned_or_built_here(service: dict[str, Any]) -> None:
    if service["image"] != "cxkpi:local":
        assert "build" not in service
        assert re.fullmatch(r"[a-z]+/[a-z]+:v?\d+\.\d+\.\d+", service["image"])


def test_what_is_built_here_is_built_by_one_service_and_pulled_by_none() -> None:
    here = {name: one for name, one in SERVICES.items() if one["image"] == "cxkpi:local"}
    assert here.keys() == {"worker", "generator"}
    # Two that are built at a time refuse each other the tag.
    (builder,) = [name for name, one in here.items() if "build" in one]
    assert (ROOT / here[builder]["build"] / "Dockerfile").is_file()
    for name in here.keys() - {builder}:
        assert here[name]["pull_policy"] == "never"
        # So that it is also built where only this one is asked for.
        assert builder in here[name]["depends_on"]


@each_service
def test_what_is_mounted_exists_and_is_read_only(service: dict[str, Any]) -> None:
    named = yaml(COMPOSE)["volumes"]
    for source, _, *options in mounts(service):
        if source.startswith("."):
            assert (ROOT / source).exists(), source
            assert options == ["ro"], source
        else:
            assert source in named


@each_service
def test_what_a_service_waits_for_is_there(service: dict[str, Any]) -> None:
    assert service.get("depends_on", {}).keys() <= SERVICES.keys()


def test_no_two_services_publish_one_port() -> None:
    ports = [port.split(":")[1] for one in SERVICES.values() for port in one.get("ports", [])]
    assert len(ports) == len(set(ports))


def test_the_workers_configuration_fits_the_network() -> None:
    config = load(DEPLOY / "cxkpi.toml", {})
    listeners = SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert f"CONTAINERS://{config.kafka.bootstrap}" in listeners.split(",")
    assert "HOST://127.0.0.1:9092" in listeners.split(",")
    assert (config.http.host, config.http.port) == ("0.0.0.0", 9464)
    assert f"127.0.0.1:9464:{config.http.port}" in SERVICES["worker"]["ports"]
    jobs = {one["job_name"]: one for one in yaml(DEPLOY / "prometheus.yml")["scrape_configs"]}
    assert jobs["cxkpi"]["static_configs"] == [{"targets": [f"worker:{config.http.port}"]}]


@pytest.mark.parametrize("name", ["worker", "generator"])
def test_a_command_gets_the_configuration_that_is_mounted(name: str) -> None:
    command = " ".join(SERVICES[name]["command"]).replace("=", " ")
    ((source, target, _),) = mounts(SERVICES[name])
    assert source == "./deploy/cxkpi.toml"
    assert f"--config {target}" in command


@pytest.mark.parametrize("name", ["worker", "generator"])
def test_a_command_takes_the_options_that_it_gets(name: str) -> None:
    subcommand, *options = SERVICES[name]["command"]
    shown = run(sys.executable, "-m", "stream", subcommand, "--help")
    named = [option.split("=")[0] for option in options if option.startswith("--")]
    assert named
    for name in named:
        assert name in shown


def test_the_configuration_fits_its_schema() -> None:
    schema = json.loads((ROOT / "schemas" / "config.json").read_text())
    jsonschema.validate(tomllib.loads((DEPLOY / "cxkpi.toml").read_text()), schema)


@pytest.mark.parametrize("ready", [True, False])
async def test_the_workers_health_check_tells_ready_from_not(ready: bool) -> None:
    unready = None if ready else "no partitions"
    async with MetricsServer(WorkerView, KPIS, unready=lambda: unready, port=0) as server:
        _, python, *arguments = SERVICES["worker"]["healthcheck"]["test"]
        assert python == "python"
        here = [
            argument.replace("127.0.0.1:9464", f"127.0.0.1:{server.port}") for argument in arguments
        ]
        assert here != arguments
        check = await asyncio.create_subprocess_exec(
            sys.executable, *here, stderr=asyncio.subprocess.PIPE
        )
        _, trouble = await check.communicate()
    assert (check.returncode == 0) == ready, trouble.decode()
    assert (b"503" in trouble) != ready


def test_the_incident_of_the_demo_sets_off_its_alert_within_minutes(tmp_path: Path) -> None:
    options = dict(o.split("=") for o in SERVICES["generator"]["command"] if o.startswith("--"))
    assert options["--incident"] == "churn-spike@+3m"
    events = tmp_path / "events.jsonl"
    # A tenth of the rate, which takes a tenth of the time and leaves customers enough to be sure.
    run(
        *(sys.executable, "-m", "stream", "generate", "--rate=5", "--for=7m"),
        *("--start=2026-01-05T11:00:00Z", f"--to={events}"),
        *(f"{name}={options[name]}" for name in ("--history", "--incident")),
    )
    replayed = (sys.executable, "-m", "stream", "replay", "--alerts", "--json", events)
    changes = json.loads(run(*replayed, "--config", DEPLOY / "cxkpi.toml"))
    assert [(c["rule"], c["to"]) for c in changes] == [
        ("ChurnSpike", "pending"),
        ("ChurnSpike", "firing"),
    ]


def test_links_in_alerts_lead_to_where_grafana_is_published() -> None:
    (published,) = SERVICES["grafana"]["ports"]
    host, port, _ = published.split(":")
    assert load(DEPLOY / "cxkpi.toml", {}).dashboard.url == f"http://{host}:{port}"


def test_grafana_finds_its_data_source_and_dashboards() -> None:
    grafana = SERVICES["grafana"]
    targets = {target: source for source, target, *_ in mounts(grafana)}
    provisioned = ROOT / targets["/etc/grafana/provisioning"]
    (provider,) = yaml(provisioned / "dashboards" / "cxkpi.yaml")["providers"]
    dashboards = ROOT / targets[provider["options"]["path"]]
    assert [path.name for path in dashboards.glob("*.json")] != []
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (dashboards / Path(home).relative_to(provider["options"]["path"])).is_file()
    (source,) = yaml(provisioned / "datasources" / "prometheus.yaml")["datasources"]
    variable = re.fullmatch(r"\$\{(\w+)\}", source["url"])
    assert variable is not None
    assert grafana["environment"][variable[1]] == "http://prometheus:9090"


def test_prometheus_takes_its_configuration(
    prometheus_tools: PrometheusTools, tmp_path: Path
) -> None:
    config = (DEPLOY / "prometheus.yml").read_text()
    rules = "/etc/prometheus/rules.yml"
    assert f"[{rules}]" in config
    assert ["./deploy/rules.yml", rules, "ro"] in mounts(SERVICES["prometheus"])
    here = tmp_path / "prometheus.yml"
    here.write_text(config.replace(rules, str(DEPLOY / "rules.yml")))
    run(prometheus_tools.promtool, "check", "config", "--lint-fatal", here)


def test_the_rules_are_those_of_the_workers_configuration() -> None:
    written = exported(load(DEPLOY / "cxkpi.toml", {})).yaml()
    command = "cxkpi rules export --config deploy/cxkpi.toml --output deploy/rules.yml"
    assert (DEPLOY / "rules.yml").read_text() == written, f"run {command}"


def test_every_runbook_of_the_rules_exists() -> None:
    urls = re.findall(r'runbook_url: "([^"]+)"', (DEPLOY / "rules.yml").read_text())
    assert urls
    assert [url for url in urls if not (ROOT / url).is_file()] == []


@pytest.mark.parametrize("file", RULES_TESTS)
def test_the_rules_do_what_they_say(
    prometheus_tools: PrometheusTools, tmp_path: Path, file: str
) -> None:
    shutil.copy(DEPLOY / "rules.yml", tmp_path)
    shutil.copy(Path(__file__).with_name(file), tmp_path)
    run(prometheus_tools.promtool, "test", "rules", file, cwd=tmp_path)


def test_the_rules_ask_for_metrics_that_a_worker_has() -> None:
    asked = set(re.findall(r"\bcx_\w+", (DEPLOY / "rules.yml").read_text()))
    assert asked <= {family.name for family in families(KPIS)}


def test_every_rule_is_tested() -> None:
    rules = {
        rule["alert"] for group in yaml(DEPLOY / "rules.yml")["groups"] for rule in group["rules"]
    }
    tests = [test for file in RULES_TESTS for test in yaml(Path(__file__).with_name(file))["tests"]]
    tested = {one["alertname"] for test in tests for one in test["alert_rule_test"]}
    assert tested == rules


def test_alertmanager_takes_its_configuration(prometheus_tools: PrometheusTools) -> None:
    run(prometheus_tools.amtool, "check-config", DEPLOY / "alertmanager.yml")


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions and their arguments."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines)]


def test_the_image_does_not_run_as_root() -> None:
    users = [rest for word, rest in instructions() if word == "USER"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1])
    last_stage = max(at for at, (word, _) in enumerate(instructions()) if word == "FROM")
    assert "USER" in {word for word, _ in instructions()[last_stage:]}


def test_the_image_is_built_from_pinned_and_verified_parts() -> None:
    images = [rest.split()[0] for word, rest in instructions() if word == "FROM"]
    assert all(re.fullmatch(r"python:3\.\d+\.\d+-slim-[a-z]+", image) for image in images)
    for word, rest in instructions():
        if word == "RUN" and "pip install" in rest:
            assert "--require-hashes" in rest or "--no-deps --no-build-isolation" in rest


def test_what_the_image_copies_is_sent_to_the_build() -> None:
    ignored = (ROOT / ".dockerignore").read_text().split()
    for word, rest in instructions():
        if word == "COPY" and not rest.startswith("--from"):
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists()
                assert f"!{source.removeprefix('./')}" in ignored
