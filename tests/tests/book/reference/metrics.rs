//! The metrics, read from the text that the processes write.

use std::{collections::BTreeMap, time::Duration};

use arcane_controller::{
    caches::Alike,
    metrics::{Metrics, Outcome},
};

use crate::tables::{code, table};

pub fn page() -> String {
    let mut page = "# Metrics\n\n\
        Both processes serve `/metrics` on port 9090 (`--metrics-addr`), in the text format of OpenMetrics. The chart brings a PodMonitor \
        or ServiceMonitor, alerts (each with a section in the [runbook](../runbook.md)) and a dashboard.\n"
        .to_owned();
    page += "\n## The controller\n\n";
    page += &listed(&of_controller());
    page += "\n`outcome` is `success`, `conflict` (another had written first; it is done again) or `failure`.\n";
    page += "\n## The webhook\n\n";
    page += &listed(&of_webhook());
    page += "\n`answer` is `allowed`, `denied`, or `failed` where the API server didn't tell what had to be known.\n";
    page
}

/// Each that has labels has to have been counted once, or its labels don't show.
fn of_controller() -> String {
    let metrics = Metrics::new();
    metrics.reconciled("Kind", Outcome::Success, Duration::ZERO);
    metrics.api_write("create", "jobs", Outcome::Success);
    metrics.show_queue("all", || 0);
    metrics.show_streams(|| BTreeMap::from([(Alike { class: None, namespace: String::new(), phase: None }, 1)]));
    metrics.text().unwrap()
}

fn of_webhook() -> String {
    let metrics = arcane_webhook::metrics::Metrics::new();
    metrics.answered("validate", "Kind", None, None, Duration::ZERO);
    metrics.text().unwrap()
}

#[derive(Default)]
struct Metric {
    type_: String,
    help: String,
    labels: Vec<String>,
    samples: Vec<String>,
}

fn listed(text: &str) -> String {
    let mut metrics: BTreeMap<String, Metric> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with("# EOF")) {
        if let Some(declared) = line.strip_prefix("# ") {
            let mut words = declared.splitn(3, ' ');
            let (what, name, rest) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap_or_default());
            let metric = metrics.entry(name.to_owned()).or_default();
            match what {
                "TYPE" => rest.clone_into(&mut metric.type_),
                "HELP" => rest.trim_end_matches('.').clone_into(&mut metric.help),
                _ => {}
            }
            continue;
        }
        let name = line.split(['{', ' ']).next().unwrap();
        let declared =
            metrics.iter_mut().filter(|(of, _)| name.starts_with(of.as_str())).max_by_key(|(of, _)| of.len());
        let (_, metric) = declared.unwrap_or_else(|| panic!("{name} is not declared"));
        if !metric.samples.iter().any(|sample| sample == name) {
            metric.samples.push(name.to_owned());
        }
        let labels = line.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map_or("", |(labels, _)| labels);
        for (label, _) in labels.split(',').filter_map(|label| label.split_once('=')) {
            if label != "le" && !metric.labels.iter().any(|known| known == label) {
                metric.labels.push(label.to_owned());
            }
        }
    }
    let rows = metrics.into_values().map(|metric| {
        assert!(!metric.samples.is_empty() && !metric.help.is_empty(), "a metric was not counted: {}", metric.help);
        let names: Vec<String> = metric.samples.iter().map(|sample| code(sample)).collect();
        let labels: Vec<String> = metric.labels.iter().map(|label| code(label)).collect();
        [names.join(", "), metric.type_, labels.join(", "), metric.help]
    });
    table(["name", "type", "labels", "what it counts"], rows)
}
