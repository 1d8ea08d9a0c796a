//! Compares dashboards and alert rules with the catalogue: they use no metric or label that it lacks, and the
//! dashboards show every metric. The story `dashboards` runs their expressions, also those of Temporal's metrics.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::base;
use crate::engines::telemetry::metrics::CATALOGUE;
use crate::engines::telemetry::process::PROCESS;

/// Labels that Prometheus and its rules add to ours.
const FOREIGN: &[&str] = &["instance", "job", "le", "severity"];

/// The metrics and labels that an expression or template uses.
#[derive(Debug, Default)]
struct Use {
    metrics: BTreeSet<String>,
    /// Labels matched on, with the metric they are matched on.
    matched: BTreeSet<(String, String)>,
    /// Labels grouped by or shown.
    named: BTreeSet<String>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana")
}

fn dashboards() -> Vec<(PathBuf, Value)> {
    let mut found = Vec::new();
    let mut folders = vec![folder()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path, serde_json::from_str(&text).unwrap()));
            }
        }
    }
    assert!(!found.is_empty(), "there is no dashboard");
    found
}

fn yaml(name: &str) -> Value {
    let text = std::fs::read_to_string(folder().join(name)).unwrap();
    serde_yaml_ng::from_str(&text).unwrap()
}

/// Collects the strings under `key`, at any depth.
fn strings(value: &Value, key: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::String(text) if name == key => found.push(text.clone()),
                    Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
                    Value::Array(_) | Value::Object(_) => strings(field, key, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| strings(item, key, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Parses an expression only as far as needed: words, `{…}` after a metric, lists after `by` and the like.
fn read(expression: &str) -> Use {
    let mut used = Use::default();
    let mut rest = expression;
    while let Some(at) = rest.find(is_word) {
        let (_, from) = rest.split_at(at);
        let end = from.find(|c| !is_word(c)).unwrap_or(from.len());
        let (word, after) = from.split_at(end);
        rest = after;
        if ["by", "without", "on", "ignoring", "group_left"].contains(&word) {
            let list = after
                .trim_start()
                .strip_prefix('(')
                .and_then(|list| list.split_once(')'));
            if let Some((list, after)) = list {
                used.named
                    .extend(list.split(',').map(|label| label.trim().to_owned()));
                rest = after;
            }
        } else if word.starts_with("genflow_") || word.starts_with("process_") {
            used.metrics.insert(base(word).to_owned());
            if let Some((matchers, after)) = after
                .strip_prefix('{')
                .and_then(|list| list.split_once('}'))
            {
                for matcher in matchers
                    .split(',')
                    .filter(|matcher| !matcher.trim().is_empty())
                {
                    let label = matcher.split(['=', '!']).next().unwrap().trim();
                    used.matched
                        .insert((base(word).to_owned(), label.to_owned()));
                }
                rest = after;
            }
        }
    }
    used.named.remove("");
    used
}

/// Returns the labels that a legend or annotation shows: `{{topic}}`, `{{ $labels.topic }}`.
fn shown(template: &str) -> BTreeSet<String> {
    let inner = template
        .split("{{")
        .skip(1)
        .filter_map(|part| part.split_once("}}"));
    let label = |text: &str| {
        let text = text.trim();
        let label = text.strip_prefix("$labels.").unwrap_or(text);
        label.chars().all(is_word).then(|| label.to_owned())
    };
    inner.filter_map(|(text, _)| label(text)).collect()
}

/// Returns the faults of an expression and its templates.
fn faults(expression: &str, templates: &[String]) -> Vec<String> {
    let mut used = read(expression);
    used.named
        .extend(templates.iter().flat_map(|template| shown(template)));
    let mut faults = Vec::new();
    let labels_of = |name: &str| {
        let mut ours = CATALOGUE.iter().filter(|metric| metric.name == name);
        let mut of_process = PROCESS.iter().filter(|(process, ..)| *process == name);
        let ours = ours.next().map(|metric| metric.labels);
        ours.or_else(|| of_process.next().map(|_| &[][..]))
    };
    for name in used.metrics.iter().filter(|name| labels_of(name).is_none()) {
        faults.push(format!("{name} is not in the catalogue: {expression}"));
    }
    for (name, label) in &used.matched {
        let known = FOREIGN.contains(&label.as_str())
            || labels_of(name).is_some_and(|labels| labels.contains(&label.as_str()));
        if !known {
            faults.push(format!("{name} has no label {label}: {expression}"));
        }
    }
    let borne: BTreeSet<_> = used
        .metrics
        .iter()
        .filter_map(|name| labels_of(name))
        .flatten()
        .copied()
        .collect();
    // The labels of Temporal's metrics are not in the catalogue.
    let named = match expression.contains("temporal_") {
        true => &BTreeSet::new(),
        false => &used.named,
    };
    for label in named {
        if !FOREIGN.contains(&label.as_str()) && !borne.contains(label.as_str()) {
            faults.push(format!(
                "none of its metrics has the label {label}: {expression}"
            ));
        }
    }
    faults
}

/// Lists the panels, including those inside rows.
fn panels(dashboard: &Value) -> Vec<&Value> {
    let mut found = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        found.push(panel);
        found.extend(panel["panels"].as_array().into_iter().flatten());
    }
    found
}

#[test]
fn dashboards_show_every_metric_and_no_unknown_one() {
    let (mut found, mut shown) = (Vec::new(), BTreeSet::new());
    for (_, dashboard) in dashboards() {
        for target in panels(&dashboard)
            .iter()
            .flat_map(|panel| panel["targets"].as_array())
            .flatten()
        {
            let expression = target["expr"].as_str().unwrap();
            let legend = target["legendFormat"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            found.extend(faults(expression, &[legend]));
            shown.extend(read(expression).metrics);
        }
    }

    assert_eq!(found, Vec::<String>::new());
    let all = CATALOGUE.iter().map(|metric| metric.name);
    for name in all.chain(PROCESS.iter().map(|(name, ..)| *name)) {
        assert!(shown.contains(name), "no panel shows {name}");
    }
}

#[test]
fn alert_rules_use_known_metrics_and_have_texts_a_severity_and_a_test() {
    let alerts = yaml("alerts.yml");
    let rules = alerts["groups"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap());
    let mut names = BTreeSet::new();
    for rule in rules {
        let name = rule["alert"].as_str().unwrap();
        names.insert(name.to_owned());
        let texts = ["summary", "description"].map(|text| {
            rule["annotations"][text]
                .as_str()
                .unwrap_or_else(|| panic!("{name} lacks a {text}"))
                .to_owned()
        });
        assert_eq!(
            faults(rule["expr"].as_str().unwrap(), &texts),
            Vec::<String>::new(),
            "{name}"
        );
        assert!(
            matches!(
                rule["labels"]["severity"].as_str(),
                Some("critical" | "warning")
            ),
            "{name}"
        );
    }

    let mut tested = Vec::new();
    strings(&yaml("alerts_test.yml"), "alertname", &mut tested);
    assert_eq!(
        tested.into_iter().collect::<BTreeSet<_>>(),
        names,
        "each alert has a test in alerts_test.yml"
    );
}

#[test]
fn the_alert_on_failed_runs_names_the_panel_that_shows_why() {
    let alerts = yaml("alerts.yml");
    let rules = alerts["groups"].as_array().unwrap().iter();
    let mut rules = rules.flat_map(|group| group["rules"].as_array().unwrap());
    let rule = rules
        .find(|rule| rule["alert"] == "GenflowRunsFail")
        .unwrap();
    let advice = rule["annotations"]["description"].as_str().unwrap();

    let named = dashboards().into_iter().any(|(_, dashboard)| {
        panels(&dashboard).iter().any(|panel| {
            let shows = panel["targets"][0]["expr"].as_str().unwrap_or_default();
            let title = panel["title"].as_str().unwrap();
            shows.contains("by (code) (rate(genflow_runs_failed_total")
                && advice.contains(&format!("'{title}'"))
        })
    });

    assert!(named, "{advice}");
}

#[test]
fn panels_have_titles_texts_units_and_places_of_their_own() {
    for (path, dashboard) in dashboards() {
        let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
        for panel in panels(&dashboard) {
            let title = panel["title"]
                .as_str()
                .filter(|title| !title.is_empty())
                .unwrap();
            assert!(
                ids.insert(panel["id"].as_u64().unwrap()),
                "{path:?}: {title}: its id is taken"
            );
            let has = |text: &Value| text.as_str().is_some_and(|text| !text.is_empty());
            assert!(
                has(&panel["description"]),
                "{path:?}: {title}: no description"
            );
            let unit = &panel["fieldConfig"]["defaults"]["unit"];
            assert!(has(unit), "{path:?}: {title}: no unit");
            let place = |side: &str| panel["gridPos"][side].as_u64().unwrap();
            assert!(
                place("x") + place("w") <= 24,
                "{path:?}: {title}: wider than the page"
            );
            for x in place("x")..place("x") + place("w") {
                for y in place("y")..place("y") + place("h") {
                    assert!(
                        cells.insert((x, y)),
                        "{path:?}: {title}: overlaps another panel"
                    );
                }
            }
        }
    }
}

#[test]
fn a_metric_or_label_that_the_catalogue_lacks_is_found() {
    let good = "sum by (le, outcome) (rate(genflow_run_seconds_bucket{kind=\"VIDEO\"}[5m])) > 1";
    assert_eq!(
        faults(good, &["{{outcome}}".to_owned()]),
        Vec::<String>::new()
    );

    for (expression, legend) in [
        ("genflow_unheard_total", ""),
        ("genflow_requests_total{topic=\"t\"}", ""),
        ("sum by (user) (genflow_requests_total)", ""),
        ("genflow_requests_total", "{{ $labels.user }}"),
        ("genflow_requests_total_bucket", ""),
    ] {
        assert_eq!(
            faults(expression, &[legend.to_owned()]).len(),
            1,
            "{expression} {legend}"
        );
    }
}
