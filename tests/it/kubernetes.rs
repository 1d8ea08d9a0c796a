//! `deploy`: what kustomize and Helm make of it, against the schemas of Kubernetes and against the program.
//!
//! There is no cluster where tests run. docs/operating/kubernetes.md says what was applied to an API server by hand.

mod objects;
mod tools;

use std::collections::{BTreeMap, BTreeSet};

use genflow::app::{Roles, settings};
use genflow::engines::config::Config;
use genflow::engines::temporal::queues::fetch_queue;
use serde_json::{Value, json};

use self::objects::{COMPONENT, Objects, alerts, bytes, container, deploy, items, labels, pod};
use self::tools::Tools;

const ALL_PARTS: [&str; 3] = [
    "monitoring.enabled=true",
    "keda.enabled=true",
    "callbacks.enabled=true",
];
const OVERLAYS: [&str; 2] = ["overlays/production", "overlays/try"];

/// Returns everything that `deploy` makes, by a name for messages; nothing without the tools.
fn renderings() -> Vec<(String, Objects)> {
    let Some(tools) = Tools::get() else {
        return Vec::new();
    };
    let mut all: Vec<_> = ["base"]
        .iter()
        .chain(&OVERLAYS)
        .map(|folder| ((*folder).to_owned(), Objects::kustomized(tools, folder)))
        .collect();
    all.push((
        "all components".to_owned(),
        Objects::with_all_components(tools),
    ));
    all.push(("chart".to_owned(), Objects::of_chart(tools, &[])));
    all.push((
        "chart with all parts".to_owned(),
        Objects::of_chart(tools, &ALL_PARTS),
    ));
    all
}

/// Returns the roles of a component; `None` for one that is no role.
fn roles(component: &str) -> Option<Roles> {
    match component {
        "intake" => Some(Roles::INTAKE),
        "worker" => Some(Roles::WORKER),
        "notifier" => Some(Roles::NOTIFIER),
        _ => None,
    }
}

#[test]
fn kustomize_and_helm_make_the_same_objects() {
    let Some(tools) = Tools::get() else { return };

    for (ours, theirs) in [
        (
            Objects::kustomized(tools, "base"),
            Objects::of_chart(tools, &[]),
        ),
        (
            Objects::with_all_components(tools),
            Objects::of_chart(tools, &ALL_PARTS),
        ),
    ] {
        let (ours, theirs) = (ours.comparable(), theirs.comparable());
        assert!(ours.len() > 10);
        let names = |objects: &BTreeMap<String, Value>| objects.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&ours), names(&theirs));
        for (name, object) in ours {
            assert_eq!(object, theirs[&name], "{name}");
        }
    }
}

#[test]
fn objects_fit_the_schemas_of_kubernetes_and_of_the_operators() {
    let Some(tools) = Tools::get() else { return };

    for (name, objects) in renderings() {
        assert_eq!(tools.faults(&objects.0), Vec::<String>::new(), "{name}");
    }

    // A misspelt field of any kind is found.
    let mut objects = Objects::with_all_components(tools).0;
    objects.retain(|object| object["spec"].is_object());
    for object in &mut objects {
        object["spec"]["misspelt"] = json!({});
    }
    let faults = tools.faults(&objects);
    for object in &objects {
        let name = format!(
            "{} {}:",
            object["kind"].as_str().unwrap(),
            object["metadata"]["name"].as_str().unwrap()
        );
        assert!(
            faults.iter().any(|fault| fault.starts_with(&name)),
            "{name} {faults:?}"
        );
    }
}

#[test]
fn the_chart_passes_helms_own_lint_and_installs_under_another_name() {
    let Some(tools) = Tools::get() else { return };
    let chart = deploy().join("helm/genflow");
    let chart = chart.to_str().unwrap();

    let linted = tools.helm(&["lint", "--strict", chart]);
    assert!(
        linted.contains("1 chart(s) linted, 0 chart(s) failed"),
        "{linted}"
    );

    // Two releases in one namespace: no object has the name of the other's, and no pod is selected by the other.
    let other = tools.helm(&["template", "second", chart]);
    for line in other
        .lines()
        .filter(|line| line.contains("genflow") && !line.trim_start().starts_with("# "))
    {
        let words = [
            "/genflow",
            "genflow/",
            "name: genflow",
            "genflow:",
            "[genflow",
            "containerName: genflow",
        ];
        assert!(
            !line.contains("genflow-") && words.iter().any(|word| line.contains(word)),
            "{line}"
        );
    }
}

#[test]
fn pods_have_no_rights() {
    for (name, objects) in renderings() {
        for (component, workload) in objects.workloads() {
            let (pod, container) = (pod(workload), container(workload));
            let at = format!("{name}: {component}");
            for (path, expected) in [
                ("/securityContext/runAsNonRoot", json!(true)),
                ("/securityContext/runAsUser", json!(10001)),
                ("/securityContext/runAsGroup", json!(10001)),
                (
                    "/securityContext/seccompProfile/type",
                    json!("RuntimeDefault"),
                ),
                ("/automountServiceAccountToken", json!(false)),
                ("/enableServiceLinks", json!(false)),
            ] {
                assert_eq!(pod.pointer(path), Some(&expected), "{at}: {path}");
            }
            for (path, expected) in [
                ("/securityContext/readOnlyRootFilesystem", json!(true)),
                ("/securityContext/allowPrivilegeEscalation", json!(false)),
                ("/securityContext/capabilities/drop", json!(["ALL"])),
            ] {
                assert_eq!(container.pointer(path), Some(&expected), "{at}: {path}");
            }
            let image = container["image"].as_str().unwrap();
            assert!(
                image.ends_with(&format!(":{}", env!("CARGO_PKG_VERSION"))),
                "{at}: {image}"
            );
        }
        for account in objects.of_kind("ServiceAccount") {
            assert_eq!(account["automountServiceAccountToken"], false, "{name}");
        }
    }
}

#[test]
fn settings_are_known_and_good_and_no_secrets() {
    let known: BTreeSet<_> = Config::variables().into_iter().collect();
    let secret = [
        "KEY",
        "KEYS",
        "SECRET",
        "TOKEN",
        "PASSWORD",
        "OPTIONS",
        "SMTP_URL",
        "WEBHOOK_URL",
    ];
    for (name, objects) in renderings() {
        for (component, workload) in objects.workloads() {
            let Some(roles) = roles(component) else {
                continue;
            };
            let mut variables = objects.variables(workload);
            for variable in variables.keys() {
                assert!(
                    known.contains(variable.as_str()),
                    "{name}: nothing reads {variable}"
                );
                assert!(
                    !secret.iter().any(|end| variable.ends_with(end)),
                    "{name}: {variable} is a secret"
                );
            }
            // What the Secrets contain.
            for (variable, value) in [
                (
                    "NOTIFY_KEYS",
                    "a:MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1ub3BxcnN0dXY=",
                ),
                (
                    "WEBHOOK_SIGNING_SECRET",
                    "whsec_MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1ub3BxcnN0dXY=",
                ),
            ] {
                variables.insert(variable.to_owned(), value.to_owned());
            }
            let config = settings::load(roles, |variable| variables.get(variable).cloned());
            let config = config.unwrap_or_else(|faults| panic!("{name}, {component}: {faults}"));
            let insecure = name == "overlays/try";
            assert_eq!(config.is_development(), insecure, "{name}, {component}");
        }
        assert_eq!(
            objects.of_kind("Secret").is_empty(),
            name != "overlays/try",
            "{name}"
        );
    }
}

#[test]
fn a_role_is_given_more_time_disk_and_memory_than_it_takes() {
    for (name, objects) in renderings() {
        for (component, workload) in objects.workloads() {
            if roles(component).is_none() {
                continue;
            }
            let variables = objects.variables(workload);
            let config = Config::load(|variable| variables.get(variable).cloned()).unwrap();
            let at = format!("{name}: {component}");
            let given = pod(workload)["terminationGracePeriodSeconds"]
                .as_u64()
                .unwrap();
            assert!(given >= config.grace.as_secs() + 10, "{at}: {given} s");
            let limits = &container(workload)["resources"]["limits"];
            let memory = bytes(&limits["memory"]);
            assert!(
                config
                    .worker
                    .memory_limit
                    .is_none_or(|most| most < memory * 9 / 10),
                "{at}"
            );
            assert_eq!(
                config.worker.memory_limit.is_some(),
                component != "intake",
                "{at}"
            );
            if component != "worker" {
                continue;
            }
            let volumes = items(&pod(workload)["volumes"]);
            let volume = volumes
                .iter()
                .find(|volume| volume["name"] == "downloads")
                .unwrap();
            let size = bytes(&volume["emptyDir"]["sizeLimit"]);
            assert!(
                config.worker.temp_max_bytes.is_some_and(|most| most < size),
                "{at}"
            );
            assert!(size < bytes(&limits["ephemeral-storage"]), "{at}");
            let mounts = items(&container(workload)["volumeMounts"]);
            let mount = mounts
                .iter()
                .find(|mount| mount["name"] == "downloads")
                .unwrap();
            let mount = mount["mountPath"].as_str().unwrap();
            // The volume's own folder is open to all users, which genflow refuses.
            let parent = config.worker.temp_dir.parent().unwrap();
            assert_eq!(parent, std::path::Path::new(mount), "{at}");
        }
    }
}

#[test]
fn roles_are_probed_and_consumers_keep_their_names() {
    for (name, objects) in renderings() {
        for (component, workload) in objects.workloads() {
            let container = container(workload);
            if roles(component).is_none() {
                continue;
            }
            let at = format!("{name}: {component}");
            assert_eq!(container["args"], json!([component]), "{at}");
            for (probe, path) in [("livenessProbe", "/livez"), ("readinessProbe", "/readyz")] {
                assert_eq!(container[probe]["httpGet"]["path"], path, "{at}");
                assert_eq!(container[probe]["httpGet"]["port"], "metrics", "{at}");
            }
            let ports = items(&container["ports"]);
            let metrics = ports.iter().find(|port| port["name"] == "metrics").unwrap();
            assert_eq!(metrics["containerPort"], 9464, "{at}");
            // Kafka fences the older of two members with one name, so only a StatefulSet may give the name.
            let variables = items(&container["env"]);
            let named = variables
                .iter()
                .find(|variable| variable["name"] == "KAFKA_GROUP_INSTANCE_ID");
            assert_eq!(named.is_some(), component != "worker", "{at}");
            assert_eq!(named.is_some(), workload["kind"] == "StatefulSet", "{at}");
            if let Some(named) = named {
                assert_eq!(
                    named["valueFrom"]["fieldRef"]["fieldPath"], "metadata.name",
                    "{at}"
                );
            }
        }
    }
}

/// Returns whether labels satisfy a selector.
fn selects(selector: &Value, labels: &Value) -> bool {
    let pairs = selector["matchLabels"].as_object().into_iter().flatten();
    let equal = pairs
        .into_iter()
        .all(|(name, value)| labels[name] == *value);
    let expressions = items(&selector["matchExpressions"]);
    equal
        && expressions.iter().all(|expression| {
            assert_eq!(expression["operator"], "In");
            let label = &labels[expression["key"].as_str().unwrap()];
            items(&expression["values"]).contains(label)
        })
}

/// Returns the components whose pods a selector selects.
fn selected<'a>(objects: &'a Objects, selector: &Value) -> Vec<&'a str> {
    let all = objects.workloads().into_iter();
    let fits = |workload: &Value| {
        selects(
            selector,
            &workload["spec"]["template"]["metadata"]["labels"],
        )
    };
    all.filter(|(_, workload)| fits(workload))
        .map(|(component, _)| component)
        .collect()
}

#[test]
fn selectors_select_the_pods_that_they_are_for() {
    for (name, objects) in renderings() {
        let all: Vec<_> = objects.workloads().into_keys().collect();
        for (component, workload) in objects.workloads() {
            if workload["kind"] != "Job" {
                assert_eq!(
                    selected(&objects, &workload["spec"]["selector"]),
                    [component],
                    "{name}"
                );
            }
            for spread in items(&pod(workload)["topologySpreadConstraints"]) {
                assert_eq!(
                    selected(&objects, &spread["labelSelector"]),
                    [component],
                    "{name}"
                );
            }
        }
        for budget in objects.of_kind("PodDisruptionBudget") {
            let own = labels(budget)[COMPONENT].as_str().unwrap();
            assert_eq!(
                selected(&objects, &budget["spec"]["selector"]),
                [own],
                "{name}"
            );
        }
        for service in objects.of_kind("Service") {
            let own = labels(service)[COMPONENT].as_str().unwrap();
            let selector = json!({ "matchLabels": service["spec"]["selector"] });
            assert_eq!(selected(&objects, &selector), [own], "{name}");
            for port in items(&service["spec"]["ports"]) {
                let ports = items(&container(objects.workloads()[own])["ports"]);
                assert!(
                    ports
                        .iter()
                        .any(|there| there["name"] == port["targetPort"]),
                    "{name}: {port}"
                );
            }
        }
        for policy in objects.of_kind("NetworkPolicy") {
            let found = selected(&objects, &policy["spec"]["podSelector"]);
            match (
                labels(policy)[COMPONENT].as_str(),
                policy["metadata"]["name"].as_str().unwrap(),
            ) {
                (Some(own), _) => assert_eq!(found, [own], "{name}"),
                (None, "genflow") => assert_eq!(found, all, "{name}"),
                (None, "genflow-public") => assert_eq!(found, ["notifier", "worker"], "{name}"),
                (None, other) => panic!("{name}: {other} selects {found:?}"),
            }
        }
        for monitor in objects.of_kind("ServiceMonitor") {
            let services = objects.of_kind("Service").into_iter();
            let scraped =
                services.filter(|service| selects(&monitor["spec"]["selector"], labels(service)));
            let ports = scraped.flat_map(|service| items(&service["spec"]["ports"]));
            assert_eq!(
                ports.filter(|port| port["name"] == "metrics").count(),
                3,
                "{name}"
            );
        }
    }
}

#[test]
fn alerts_are_those_of_grafana() {
    let text = std::fs::read_to_string(deploy().join("../grafana/alerts.yml")).unwrap();
    let groups: Value = serde_yaml_ng::from_str(&text).unwrap();
    let expected = alerts(&groups);

    let mut found = 0;
    for (name, objects) in renderings() {
        for rule in objects.of_kind("PrometheusRule") {
            assert_eq!(
                alerts(&rule["spec"]),
                expected,
                "{name}: see deploy/kubernetes/components/monitoring/alerts.yaml, and copy grafana/alerts.yml to deploy/helm/genflow/files"
            );
            found += 1;
        }
        for monitor in objects.of_kind("ServiceMonitor") {
            // The value of this label of the Services becomes the label `job`.
            let label = monitor["spec"]["jobLabel"].as_str().unwrap();
            for service in objects.of_kind("Service") {
                assert_eq!(labels(service)[label], "genflow");
            }
        }
    }
    assert_eq!(found, if Tools::get().is_some() { 3 } else { 0 });
}

#[test]
fn scaling_looks_at_the_groups_topics_and_queues_of_the_roles() {
    let defaults = Config::load(|_| None).unwrap();
    let (kafka, queue) = (&defaults.kafka, &defaults.temporal.task_queue);
    for (name, objects) in renderings() {
        let scaled = objects.of_kind("ScaledObject");
        for object in &scaled {
            let component = labels(object)[COMPONENT].as_str().unwrap();
            let workload = objects.workloads()[component];
            let target = &object["spec"]["scaleTargetRef"];
            assert_eq!(
                (&target["kind"], &target["name"]),
                (&workload["kind"], &workload["metadata"]["name"])
            );
            assert_eq!(
                workload["spec"].get("replicas"),
                None,
                "{name}: KEDA owns it"
            );
            let triggers = items(&object["spec"]["triggers"]);
            let of_triggers = |field: &str| -> Vec<_> {
                triggers
                    .iter()
                    .map(|it| it["metadata"][field].as_str().unwrap().to_owned())
                    .collect()
            };
            let topic = match component {
                "intake" => &kafka.topics.requests,
                "notifier" => &kafka.topics.events,
                _ => {
                    assert_eq!(
                        of_triggers("taskQueue"),
                        [queue.clone(), fetch_queue(queue)]
                    );
                    continue;
                }
            };
            assert_eq!(of_triggers("topic"), [topic.clone()], "{name}");
            assert_eq!(
                of_triggers("consumerGroup"),
                [format!("{}-{component}", kafka.group)],
                "{name}"
            );
        }
        let replicas = objects
            .workloads()
            .into_iter()
            .filter(|(component, _)| roles(component).is_some());
        let fixed = replicas.filter(|(_, workload)| workload["spec"].get("replicas").is_some());
        assert_eq!(fixed.count() + scaled.len(), 3, "{name}");
    }
}
