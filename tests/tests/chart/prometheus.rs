//! Alerts and dashboard, read by Prometheus' own tool.

use std::collections::BTreeSet;

use arcane_tests::fixture::repository_file;
use serde_json::{Value, json};

use crate::world::*;

fn rendered_rules() -> Value {
    let objects = objects("monitoring.prometheusRule.enabled=true");
    object(&objects, "PrometheusRule", "arcane-operator")["spec"].clone()
}

/// The dashboard's queries, as Grafana would ask them.
fn queries() -> Vec<String> {
    let dashboard: Value =
        serde_json::from_str(&repository_file("charts/arcane-operator/files/dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let asked = |query: &Value| {
        let query = query["expr"].as_str().unwrap();
        query.replace("$__rate_interval", "5m").replace("$namespace", "arcane")
    };
    targets.map(asked).collect()
}

fn check_rules(name: &str, rules: &Value) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join(name);
    std::fs::write(&file, rules.to_string()).unwrap();
    let said = tools().run("promtool", &["check", "rules", "--lint=all", "--lint-fatal", &file.display().to_string()]);
    let said = said.unwrap();
    assert!(said.success, "{}{}", said.stdout, said.stderr);
}

#[test]
fn prometheus_reads_the_alerts() {
    check_rules("alerts.json", &rendered_rules());
}

#[test]
fn prometheus_reads_the_dashboards_queries() {
    let queries = queries();
    assert!(queries.len() > 10, "{queries:?}");
    let rules: Vec<Value> = queries
        .iter()
        .enumerate()
        .map(|(number, query)| json!({"record": format!("dashboard:query_{number}"), "expr": query}))
        .collect();
    check_rules("queries.json", &json!({"groups": [{"name": "dashboard", "rules": rules}]}));
}

#[test]
fn each_alert_says_what_is_wrong_and_what_to_do() {
    let rules = rendered_rules();
    let rules = rules["groups"][0]["rules"].as_array().unwrap();
    let runbook = repository_file("docs/runbook.md");
    assert!(rules.len() > 8);
    for rule in rules {
        assert!(rule["annotations"]["summary"].is_string() && rule["annotations"]["description"].is_string(), "{rule}");
        assert!(["warning", "critical"].contains(&rule["labels"]["severity"].as_str().unwrap()), "{rule}");
        assert!(rule["for"].is_string(), "{rule}");
        let (name, link) = (rule["alert"].as_str().unwrap(), rule["annotations"]["runbook_url"].as_str().unwrap());
        assert!(link.ends_with(&format!("/docs/runbook.md#{}", name.to_lowercase())), "{link}");
        assert!(runbook.lines().any(|line| line == format!("## {name}")), "docs/runbook.md says nothing of {name}");
    }
}

/// What is seen, and which alerts it raises.
#[test]
fn alerts_are_raised_by_what_they_are_about_and_by_nothing_else() {
    let series = |series: &str, values: &str| json!({"series": series, "values": values});
    let well = |cert: &str| {
        vec![
            series(r#"arcane_leader{namespace="arcane", pod="a"}"#, "1x60"),
            series(r#"arcane_leader{namespace="arcane", pod="b"}"#, "0x60"),
            series(r#"arcane_writer{namespace="arcane", pod="c"}"#, "1x60"),
            series(r#"arcane_serving_certificate_expiry_timestamp_seconds{namespace="arcane", pod="c"}"#, cert),
            series(r#"arcane_reconciles_total{namespace="arcane", kind="S", outcome="success"}"#, "0+60x60"),
        ]
    };
    let with = |more: Value| {
        let mut series = well("1000000x60");
        series.push(more);
        series
    };
    let without = |name: &str| {
        let mut series = well("1000000x60");
        series.retain(|one| !one["series"].as_str().unwrap().starts_with(name));
        series
    };
    // A fiftieth of what is counted took longer than `quick` seconds, all of it no longer than `long`.
    let slow = |name: &str, label: &str, quick: &str, long: &str| {
        let mut all = well("1000000x60");
        for (le, values) in [(quick, "0+49x60"), (long, "0+50x60"), ("+Inf", "0+50x60")] {
            all.push(series(&format!(r#"{name}_bucket{{namespace="arcane", {label}, le="{le}"}}"#), values));
        }
        all
    };
    let cases = [
        (well("1000000x60"), None),
        (without("arcane_leader"), Some("ArcaneNoController")),
        (with(series(r#"arcane_leader{namespace="arcane", pod="d"}"#, "1x60")), Some("ArcaneTwoControllers")),
        (
            with(series(r#"arcane_reconciles_total{namespace="arcane", kind="S", outcome="failure"}"#, "0+60x60")),
            Some("ArcaneReconcilesFail"),
        ),
        (
            with(series(
                r#"arcane_streams{namespace="arcane", class="c", stream_namespace="s", phase="Failed"}"#,
                "0x10 1x50",
            )),
            Some("ArcaneStreamsFailed"),
        ),
        (
            with(series(
                r#"arcane_streams{namespace="arcane", class="c", stream_namespace="s", phase="Running"}"#,
                "9x60",
            )),
            None,
        ),
        (with(series(r#"arcane_queue_length{namespace="arcane", queue="all"}"#, "900x60")), Some("ArcaneQueueLong")),
        (
            with(series(
                r#"arcane_api_writes_total{namespace="arcane", verb="create", resource="jobs", outcome="failure"}"#,
                "0+1x60",
            )),
            Some("ArcaneWritesFail"),
        ),
        (without("arcane_serving"), Some("ArcaneNoWebhook")),
        (without("arcane_writer"), None), // nobody says anything: that is ArcaneNoWebhook's matter
        (
            {
                let mut nobody = without("arcane_writer");
                nobody.push(series(r#"arcane_writer{namespace="arcane", pod="c"}"#, "0x60"));
                nobody
            },
            Some("ArcaneWebhookNobodyWrites"),
        ),
        (well("10000x60"), Some("ArcaneWebhookCertificateEndsSoon")),
        (slow("arcane_reconcile_duration_seconds", r#"kind="S""#, "5", "10"), Some("ArcaneReconcilesSlow")),
        (
            slow("arcane_admission_review_duration_seconds", r#"webhook="validate""#, "2.5", "5"),
            Some("ArcaneWebhookSlow"),
        ),
        (
            with(series(
                r#"arcane_admission_reviews_total{namespace="arcane", webhook="validate", answer="failed"}"#,
                "0+1x60",
            )),
            Some("ArcaneWebhookCannotJudge"),
        ),
        (
            with(series(
                r#"arcane_admission_review_duration_seconds_bucket{namespace="arcane", webhook="validate", le="+Inf"}"#,
                "0+60x60",
            )),
            None,
        ),
        (with(series(r#"arcane_leader{namespace="other", pod="z"}"#, "1x60")), None),
    ];
    let rules = rendered_rules();
    let names: Vec<&str> =
        rules["groups"][0]["rules"].as_array().unwrap().iter().map(|rule| rule["alert"].as_str().unwrap()).collect();
    let raised: BTreeSet<&str> = cases.iter().filter_map(|(_, raised)| *raised).collect();
    assert_eq!(raised, names.iter().copied().collect(), "alerts that are raised by a case, and those that there are");
    let directory = tempfile::tempdir().unwrap();
    let rules_file = directory.path().join("alerts.json");
    std::fs::write(&rules_file, rules.to_string()).unwrap();
    for (seen, raised) in cases {
        // Whether an alert is raised; its labels and annotations are looked at elsewhere.
        let tests: Vec<Value> = names
            .iter()
            .map(|name| {
                let samples = if raised == Some(*name) { json!([{"labels": "{}", "value": 1}]) } else { json!([]) };
                let expr = format!("count(count(ALERTS{{alertname=\"{name}\", alertstate=\"firing\"}}))");
                json!({"expr": expr, "eval_time": "40m", "exp_samples": samples})
            })
            .collect();
        let file = directory.path().join("test.json");
        let test = json!({
            "rule_files": [rules_file], "evaluation_interval": "1m",
            "tests": [{"interval": "1m", "input_series": seen, "promql_expr_test": tests}],
        });
        std::fs::write(&file, test.to_string()).unwrap();
        let said = tools().run("promtool", &["test", "rules", &file.display().to_string()]).unwrap();
        assert!(said.success, "{raised:?} by {seen:#?}:\n{}{}", said.stdout, said.stderr);
    }
}

/// Every metric that alerts and dashboard name is one that a process exports.
pub fn each_name_is_one_of(pages: &[String]) {
    let mut exported = BTreeSet::new();
    for line in pages.iter().flat_map(|page| page.lines()) {
        let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|line| line.split_once(' ')) else { continue };
        match kind {
            "counter" => exported.insert(format!("{name}_total")),
            "histogram" => exported.insert(format!("{name}_bucket")),
            "info" => exported.insert(format!("{name}_info")),
            _ => exported.insert(name.to_owned()),
        };
    }
    let rules = rendered_rules();
    let alerts =
        rules["groups"][0]["rules"].as_array().unwrap().iter().map(|rule| rule["expr"].as_str().unwrap().to_owned());
    let mut named = BTreeSet::new();
    for query in queries().into_iter().chain(alerts) {
        let words = query.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        named.extend(words.filter(|word| word.starts_with("arcane_")).map(str::to_owned));
    }
    assert!(named.len() > 8, "{named:?}");
    let unknown: Vec<_> = named.difference(&exported).collect();
    assert!(unknown.is_empty(), "nobody exports {unknown:?}; exported are {exported:?}");
}
