//! The objects that kustomize and Helm make of `deploy`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize as _;
use serde_json::Value;

use super::tools::Tools;

/// The kinds with pods of genflow.
const WORKLOADS: [&str; 3] = ["Deployment", "StatefulSet", "Job"];

/// The objects of one rendering.
#[derive(Debug)]
pub(super) struct Objects(pub(super) Vec<Value>);

impl Objects {
    /// Renders a folder of `deploy/kubernetes`.
    pub(super) fn kustomized(tools: &Tools, folder: &str) -> Self {
        let folder = deploy().join("kubernetes").join(folder);
        Self::parse(&tools.run("kustomize", &["build", folder.to_str().unwrap()]))
    }

    /// Renders the base with all components.
    pub(super) fn with_all_components(tools: &Tools) -> Self {
        let copy = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("kustomize-{}", uuid::Uuid::new_v4()));
        let copied = Command::new("cp")
            .arg("-r")
            .arg(deploy().join("kubernetes"))
            .arg(&copy)
            .status();
        assert!(copied.unwrap().success());
        let all = copy.join("all");
        std::fs::create_dir(&all).unwrap();
        let names = std::fs::read_dir(copy.join("components")).unwrap();
        let components: String = names
            .map(|entry| {
                format!(
                    "  - ../components/{}\n",
                    entry.unwrap().file_name().to_str().unwrap()
                )
            })
            .collect();
        std::fs::write(
            all.join("kustomization.yaml"),
            format!("resources: [../base]\ncomponents:\n{components}"),
        )
        .unwrap();
        let rendered = tools.run("kustomize", &["build", all.to_str().unwrap()]);
        std::fs::remove_dir_all(&copy).unwrap();
        Self::parse(&rendered)
    }

    /// Renders the chart, as the release `genflow`, with these values set.
    pub(super) fn of_chart(tools: &Tools, values: &[&str]) -> Self {
        let chart = deploy().join("helm/genflow");
        let mut arguments = vec!["template", "genflow", chart.to_str().unwrap()];
        for value in values {
            arguments.extend(["--set", value]);
        }
        Self::parse(&tools.helm(&arguments))
    }

    fn parse(text: &str) -> Self {
        let documents = serde_yaml_ng::Deserializer::from_str(text);
        let objects = documents.map(|document| Value::deserialize(document).unwrap());
        Self(objects.filter(|object| !object.is_null()).collect())
    }

    pub(super) fn of_kind<'a>(&'a self, kind: &str) -> Vec<&'a Value> {
        self.0
            .iter()
            .filter(|object| object["kind"] == kind)
            .collect()
    }

    pub(super) fn get(&self, kind: &str, name: &str) -> &Value {
        let mut all = self.of_kind(kind).into_iter();
        all.find(|object| object["metadata"]["name"] == name)
            .unwrap_or_else(|| panic!("there is no {kind} {name}"))
    }

    /// Returns the workloads, by their component.
    pub(super) fn workloads(&self) -> BTreeMap<&str, &Value> {
        let all = WORKLOADS.iter().flat_map(|kind| self.of_kind(kind));
        all.map(|workload| (labels(workload)[COMPONENT].as_str().unwrap(), workload))
            .collect()
    }

    /// Returns the variables of a workload that do not come from a Secret or a field of its pod.
    pub(super) fn variables(&self, workload: &Value) -> BTreeMap<String, String> {
        let container = container(workload);
        let mut variables = BTreeMap::new();
        for source in items(&container["envFrom"]) {
            if let Some(name) = source["configMapRef"]["name"].as_str() {
                let data = &self.get("ConfigMap", name)["data"];
                let data: BTreeMap<String, String> = serde_json::from_value(data.clone()).unwrap();
                variables.extend(data);
            }
        }
        for variable in items(&container["env"]) {
            if let Some(value) = variable["value"].as_str() {
                variables.insert(
                    variable["name"].as_str().unwrap().to_owned(),
                    value.to_owned(),
                );
            }
        }
        variables
    }

    /// Returns the objects by kind and name, without the differences between kustomize and Helm: kustomize adds a hash to the
    /// names of ConfigMaps, Helm adds one to the name of the Job, and one of the settings to pods. Variables are sorted by name.
    /// Alerts are compared by [`alerts`].
    pub(super) fn comparable(self) -> BTreeMap<String, Value> {
        let settings = self.of_kind("ConfigMap").into_iter();
        let names: Vec<_> = settings
            .map(|map| map["metadata"]["name"].as_str().unwrap().to_owned())
            .collect();
        let mut comparable = BTreeMap::new();
        for object in self.0 {
            let mut text = object.to_string();
            for name in &names {
                text = text.replace(name, "genflow-settings");
            }
            let mut object: Value = serde_json::from_str(&text).unwrap();
            if object["kind"] == "Job" {
                let name = object["metadata"]["name"].as_str().unwrap();
                assert!(name.starts_with("genflow-setup"), "{name}");
                object["metadata"]["name"] = "genflow-setup".into();
            }
            if let Some(metadata) = object.pointer_mut("/spec/template/metadata") {
                metadata.as_object_mut().unwrap().remove("annotations");
            }
            let variables = object.pointer_mut("/spec/template/spec/containers/0/env");
            if let Some(Value::Array(variables)) = variables {
                variables.sort_by_key(|variable| variable["name"].to_string());
            }
            if object["kind"] == "PrometheusRule" {
                object["spec"] = alerts(&object["spec"]);
            }
            let name = format!("{} {}", object["kind"], object["metadata"]["name"]);
            assert!(comparable.insert(name, object).is_none());
        }
        comparable
    }
}

pub(super) const COMPONENT: &str = "app.kubernetes.io/component";

/// Returns groups of alerts with one space between the words of their expressions: kustomize adds line breaks to folded texts.
pub(super) fn alerts(groups: &Value) -> Value {
    let mut groups = groups.clone();
    for group in groups["groups"].as_array_mut().unwrap() {
        for rule in group["rules"].as_array_mut().unwrap() {
            let words: Vec<_> = rule["expr"].as_str().unwrap().split_whitespace().collect();
            rule["expr"] = words.join(" ").into();
        }
    }
    groups
}

pub(super) fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

pub(super) fn labels(object: &Value) -> &Value {
    &object["metadata"]["labels"]
}

pub(super) fn pod(workload: &Value) -> &Value {
    &workload["spec"]["template"]["spec"]
}

/// Returns the only container of a workload.
pub(super) fn container(workload: &Value) -> &Value {
    let containers = items(&pod(workload)["containers"]);
    assert_eq!(containers.len(), 1, "{workload}");
    &containers[0]
}

/// Returns the items of a list, or nothing if there is no list.
pub(super) fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

/// Returns the bytes of a quantity such as `512Mi`.
pub(super) fn bytes(quantity: &Value) -> u64 {
    let text = quantity.as_str().unwrap();
    let (number, unit) = text.split_at(text.len() - 2);
    let shift = match unit {
        "Mi" => 20,
        "Gi" => 30,
        _ => panic!("{text} is not in Mi or Gi"),
    };
    number.parse::<u64>().unwrap() << shift
}
