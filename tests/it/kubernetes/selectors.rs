//! Selectors: each selects the pods that it is for, and no others.

use serde_json::{Value, json};

use super::objects::{COMPONENT, Objects, container, items, labels, pod};
use super::renderings;

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
fn workloads_budgets_and_services_select_their_own_pods() {
    for (name, objects) in renderings() {
        for (component, workload) in objects.workloads() {
            if workload["kind"] != "Job" {
                assert_eq!(
                    selected(&objects, &workload["spec"]["selector"]),
                    [component],
                    "{name}"
                );
            }
            for spread in items(&pod(workload)["topologySpreadConstraints"]) {
                let found = selected(&objects, &spread["labelSelector"]);
                assert_eq!(found, [component], "{name}");
            }
        }
        for budget in objects.of_kind("PodDisruptionBudget") {
            let own = labels(budget)[COMPONENT].as_str().unwrap();
            let found = selected(&objects, &budget["spec"]["selector"]);
            assert_eq!(found, [own], "{name}");
        }
        for service in objects.of_kind("Service") {
            let own = labels(service)[COMPONENT].as_str().unwrap();
            let selector = json!({ "matchLabels": service["spec"]["selector"] });
            assert_eq!(selected(&objects, &selector), [own], "{name}");
            let ports = items(&container(objects.workloads()[own])["ports"]);
            for port in items(&service["spec"]["ports"]) {
                let mut names = ports.iter().map(|there| &there["name"]);
                assert!(
                    names.any(|there| *there == port["targetPort"]),
                    "{name}: {port}"
                );
            }
        }
    }
}

#[test]
fn a_policy_applies_to_the_roles_that_need_it_and_one_to_all_pods() {
    for (name, objects) in renderings() {
        let all: Vec<_> = objects.workloads().into_keys().collect();
        for policy in objects.of_kind("NetworkPolicy") {
            let found = selected(&objects, &policy["spec"]["podSelector"]);
            let own = labels(policy)[COMPONENT].as_str();
            match (own, policy["metadata"]["name"].as_str().unwrap()) {
                (Some(own), _) => assert_eq!(found, [own], "{name}"),
                (None, "genflow") => {
                    assert_eq!(found, all, "{name}");
                    // Refuses what no policy allows.
                    assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
                }
                (None, "genflow-public") => assert_eq!(found, ["notifier", "worker"], "{name}"),
                (None, other) => panic!("{name}: {other} selects {found:?}"),
            }
        }
    }
}

#[test]
fn prometheus_scrapes_each_role_once() {
    for (name, objects) in renderings() {
        for monitor in objects.of_kind("ServiceMonitor") {
            let services = objects.of_kind("Service").into_iter();
            let scraped =
                services.filter(|service| selects(&monitor["spec"]["selector"], labels(service)));
            let ports = scraped.flat_map(|service| items(&service["spec"]["ports"]));
            let metrics = ports.filter(|port| port["name"] == "metrics").count();
            assert_eq!(metrics, 3, "{name}");
        }
    }
}
