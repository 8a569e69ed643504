//! Two objects, compared as a person would: what Kubernetes fills in by itself is no difference, and what has a name is the
//! same thing wherever it stands in its list.

use std::{collections::BTreeSet, fmt};

use arcane_common::field_path::FieldPath;
use serde_json::{Map, Value, json};

/// A field that isn't the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The field.
    pub path: FieldPath,
    /// As it is; `None`: it isn't there.
    pub is: Option<Value>,
    /// As it would be; `None`: it wouldn't be there.
    pub would_be: Option<Value>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "@ {}", self.path)?;
        for (mark, side) in [("-", &self.is), ("+", &self.would_be)] {
            let Some(value) = side else { continue };
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Object(_) | Value::Array(_) => {
                    serde_saphyr::to_string(value).unwrap_or_else(|_| value.to_string())
                }
                other => other.to_string(),
            };
            for line in text.trim_end().lines() {
                writeln!(f, "{mark} {line}")?;
            }
            if text.trim_end().is_empty() {
                writeln!(f, "{mark} \"\"")?;
            }
        }
        Ok(())
    }
}

/// What is compared of a Job or CronJob: what was asked for, not what became of it.
const COMPARED: [&str; 4] = ["/metadata/labels", "/metadata/annotations", "/metadata/ownerReferences", "/spec"];

/// Annotations that tell about the moment in which a Job was made, or belong to others.
const TOLD_BY_OTHERS: [&str; 3] = [
    "batch.kubernetes.io/job-tracking",
    "arcane/suspended-at",
    // Told by the spec, which is compared itself; a flip of `suspended` makes a new generation.
    "arcane/stream-generation",
];

/// Labels that Kubernetes gives to Jobs' pods.
const LABELS_OF_JOBS: [&str; 4] =
    ["controller-uid", "job-name", "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"];

/// The differences between an object as it is and as it would be.
pub fn differences(is: &Value, would_be: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    for pointer in COMPARED {
        let path = pointer
            .split('/')
            .skip(2)
            .fold(FieldPath::root(pointer.split('/').nth(1).unwrap_or_default()), |path, field| path.child(field));
        compare(&path, is.pointer(pointer), would_be.pointer(pointer), &mut found);
    }
    found
}

fn compare(path: &FieldPath, is: Option<&Value>, would_be: Option<&Value>, found: &mut Vec<Difference>) {
    match (is, would_be) {
        (Some(Value::Object(is)), Some(Value::Object(would_be))) => objects(path, is, would_be, found),
        (Some(Value::Array(is)), Some(Value::Array(would_be))) => lists(path, is, would_be, found),
        (Some(is), Some(would_be)) if same(is, would_be) || (are_quantities(path) && same_quantity(is, would_be)) => {}
        (None, None) => {}
        (Some(_), None) if is_filled_in(path, is) => {}
        // Kubernetes may have filled in all that is in it.
        (Some(Value::Object(is)), None) => objects(path, is, &Map::new(), found),
        // An empty map, list or null that is wanted is one that isn't there.
        (None, Some(would_be)) if is_empty(would_be) => {}
        _ => found.push(Difference { path: path.clone(), is: is.cloned(), would_be: would_be.cloned() }),
    }
}

fn objects(path: &FieldPath, is: &Map<String, Value>, would_be: &Map<String, Value>, found: &mut Vec<Difference>) {
    let holds_free_keys = {
        let path = path.to_string();
        [".labels", ".annotations", ".nodeSelector", ".limits", ".requests"].iter().any(|end| path.ends_with(end))
    };
    let keys: BTreeSet<&String> = is.keys().chain(would_be.keys()).collect();
    for key in keys {
        let below = if holds_free_keys { path.key(key) } else { path.child(key) };
        compare(&below, is.get(key), would_be.get(key), found);
    }
}

fn lists(path: &FieldPath, is: &[Value], would_be: &[Value], found: &mut Vec<Difference>) {
    let name = |element: &Value| element.get("name").and_then(Value::as_str).map(ToOwned::to_owned);
    let all_named = is.iter().chain(would_be).all(|element| name(element).is_some());
    if all_named {
        let names: BTreeSet<String> = is.iter().chain(would_be).filter_map(name).collect();
        for key in names {
            let of = |list: &[Value]| list.iter().find(|element| name(element).as_ref() == Some(&key)).cloned();
            compare(&path.key(&key), of(is).as_ref(), of(would_be).as_ref(), found);
        }
        return;
    }
    for index in 0..is.len().max(would_be.len()) {
        compare(&path.index(index), is.get(index), would_be.get(index), found);
    }
}

/// Numbers and quantities may be written in two ways.
fn same(is: &Value, would_be: &Value) -> bool {
    let number = |value: &Value| value.as_f64();
    is == would_be || number(is).is_some_and(|is| Some(is) == number(would_be)) || (is_empty(is) && is_empty(would_be))
}

/// Kubernetes writes quantities in its own way, e.g. `1` for `1000m`.
fn are_quantities(path: &FieldPath) -> bool {
    let path = path.to_string();
    [".limits[", ".requests["].iter().any(|part| path.contains(part))
        || [".sizeLimit", ".divisor"].iter().any(|end| path.ends_with(end))
}

fn same_quantity(is: &Value, would_be: &Value) -> bool {
    let number = |value: &Value| match value {
        Value::String(text) => quantity(text),
        other => other.as_f64(),
    };
    match (number(is), number(would_be)) {
        (Some(is), Some(would_be)) => (is - would_be).abs() <= f64::EPSILON * is.abs().max(would_be.abs()) * 4.0,
        _ => false,
    }
}

/// The number that a quantity means.
fn quantity(text: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 15] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("Ei", 1_152_921_504_606_846_976.0),
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
    ];
    let with_unit = UNITS.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)));
    let (number, factor) = with_unit.unwrap_or((text, &1.0));
    number.parse::<f64>().ok().map(|number| number * factor)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(elements) => elements.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

/// Whether Kubernetes itself has filled in a field that nobody wanted.
fn is_filled_in(path: &FieldPath, is: Option<&Value>) -> bool {
    let Some(is) = is else { return true };
    let path = path.to_string();
    let field = path.rsplit('.').next().unwrap_or_default();
    let key = path.rsplit_once('[').map(|(_, key)| key.trim_end_matches(']'));
    if is_empty(is) || key.is_some_and(|key| TOLD_BY_OTHERS.contains(&key) || LABELS_OF_JOBS.contains(&key)) {
        return true;
    }
    if path.ends_with("spec.selector") || path.ends_with(".manualSelector") {
        return true;
    }
    defaults(field).iter().any(|default| default == is)
}

/// What Kubernetes puts where nothing is said, as far as a Job and its pods go.
fn defaults(field: &str) -> Vec<Value> {
    match field {
        "backoffLimit" => vec![json!(6)],
        "completionMode" => vec![json!("NonIndexed")],
        "completions" | "parallelism" => vec![json!(1)],
        "suspend" => vec![json!(false)],
        "podReplacementPolicy" => vec![json!("TerminatingOrFailed"), json!("Failed")],
        "successfulJobsHistoryLimit" => vec![json!(3)],
        "failedJobsHistoryLimit" => vec![json!(1)],
        "dnsPolicy" => vec![json!("ClusterFirst")],
        "schedulerName" => vec![json!("default-scheduler")],
        "terminationGracePeriodSeconds" => vec![json!(30)],
        "restartPolicy" => vec![json!("Never")],
        "imagePullPolicy" => vec![json!("IfNotPresent"), json!("Always")],
        "terminationMessagePath" => vec![json!("/dev/termination-log")],
        "terminationMessagePolicy" => vec![json!("File")],
        "protocol" => vec![json!("TCP")],
        "apiVersion" => vec![json!("v1")],
        "defaultMode" => vec![json!(420)],
        "timeoutSeconds" | "successThreshold" => vec![json!(1)],
        "periodSeconds" => vec![json!(10)],
        "failureThreshold" => vec![json!(3)],
        "scheme" => vec![json!("HTTP")],
        "serviceAccount" => vec![json!("default")],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(container: Value, annotations: Value) -> Value {
        json!({"kind": "Job", "metadata": {"name": "j", "annotations": annotations},
            "spec": {"template": {"spec": {"containers": [container]}}}})
    }

    #[test]
    fn what_kubernetes_fills_in_is_no_difference() {
        let would_be =
            job(json!({"name": "c", "image": "i:1", "env": [{"name": "A", "value": "1"}]}), json!({"a": "1"}));
        let mut is = job(
            json!({"name": "c", "image": "i:1", "env": [{"name": "A", "value": "1"}], "resources": {},
                "imagePullPolicy": "IfNotPresent", "terminationMessagePath": "/dev/termination-log"}),
            json!({"a": "1", "batch.kubernetes.io/job-tracking": ""}),
        );
        is["spec"]["selector"] = json!({"matchLabels": {"controller-uid": "u"}});
        is["spec"]["backoffLimit"] = json!(6);
        is["status"] = json!({"ready": 1});
        is["spec"]["template"]["metadata"] = json!({"labels": {"job-name": "j"}});
        assert_eq!(differences(&is, &would_be), []);
    }

    #[test]
    fn a_quantity_may_be_written_in_two_ways() {
        let with = |cpu: &str, memory: &str| {
            job(json!({"name": "c", "resources": {"limits": {"cpu": cpu, "memory": memory}}}), json!({}))
        };
        assert_eq!(differences(&with("1", "2Gi"), &with("1000m", "2048Mi")), []);
        assert_eq!(differences(&with("1500m", "2G"), &with("1.5", "2e9")), []);
        assert_eq!(differences(&with("1", "2Gi"), &with("100m", "2Gi")).len(), 1);
        assert_eq!(differences(&with("1", "2Gi"), &with("1", "2G")).len(), 1);
    }

    #[test]
    fn what_is_not_the_same_is_shown_line_by_line() {
        let is = job(
            json!({"name": "c", "image": "i:1", "env": [{"name": "A", "value": "1"}, {"name": "GONE", "value": "x"}]}),
            json!({"arcane/template-hash": "1"}),
        );
        let would_be = job(
            json!({"name": "c", "image": "i:2", "env": [{"name": "NEW", "value": "y"}, {"name": "A", "value": "1"}],
                "resources": {"limits": {"cpu": "1"}}}),
            json!({"arcane/template-hash": "2"}),
        );
        let text: String = differences(&is, &would_be).iter().map(ToString::to_string).collect();
        insta::assert_snapshot!("differences", text);
    }
}
