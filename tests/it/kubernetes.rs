//! `deploy`: what kustomize and Helm make of it, against the schemas of Kubernetes and against the program.
//!
//! There is no cluster where tests run. docs/operating/kubernetes.md says what was applied to an API server by hand.

mod objects;
mod pods;
mod selectors;
mod tools;

use std::collections::BTreeMap;

use genflow::engines::config::Config;
use genflow::engines::temporal::queues::fetch_queue;
use serde_json::{Value, json};

use self::objects::{COMPONENT, Objects, alerts, deploy, items, labels};
use self::pods::roles;
use self::tools::Tools;

const ALL_PARTS: [&str; 3] = [
    "monitoring.enabled=true",
    "keda.enabled=true",
    "callbacks.enabled=true",
];
/// Values that are empty by default.
const OPTIONS: [&str; 9] = [
    "image.pullSecrets[0]=registry",
    "files.prices\\.toml=prices",
    "serviceAccounts.worker.role=bucket",
    "nodeSelector.disk=ssd",
    "tolerations[0].key=genflow",
    "priorityClassName=high",
    "networkPolicy.worker[0].ports[0].port=9000",
    "monitoring.enabled=true,monitoring.labels.release=prometheus",
    "keda.enabled=true,keda.kafkaAuthentication=kafka,keda.temporalAuthentication=temporal",
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

    let objects = Objects::of_chart(tools, &OPTIONS);
    assert_eq!(tools.faults(&objects.0), Vec::<String>::new());

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
fn the_chart_refuses_misspelt_values_and_numbers_as_variables() {
    let Some(tools) = Tools::get() else { return };
    let chart = deploy().join("helm/genflow");
    let chart = chart.to_str().unwrap();

    for (value, fault) in [
        (
            "worker.replica=3",
            "at '/worker': additional properties 'replica' not allowed",
        ),
        // Helm would write it as 2.147483648e+09.
        (
            "settings.MAX_OUTPUT_BYTES=2147483648",
            "at '/settings/MAX_OUTPUT_BYTES': got number",
        ),
    ] {
        let said = tools.refusal("helm", &["template", "genflow", chart, "--set", value]);
        assert!(said.contains(fault), "{value}: {said}");
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
            assert_eq!(of_triggers("topic"), std::slice::from_ref(topic), "{name}");
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
