//! Pods: their rights, settings, limits and probes.

use std::collections::BTreeSet;
use std::path::Path;

use genflow::app::{Roles, settings};
use genflow::engines::config::Config;
use serde_json::json;

use super::objects::{bytes, container, items, pod};
use super::renderings;

/// Returns the roles of a component; `None` for one that is no role.
pub(super) fn roles(component: &str) -> Option<Roles> {
    match component {
        "intake" => Some(Roles::INTAKE),
        "worker" => Some(Roles::WORKER),
        "notifier" => Some(Roles::NOTIFIER),
        _ => None,
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
            assert_eq!(parent, Path::new(mount), "{at}");
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
