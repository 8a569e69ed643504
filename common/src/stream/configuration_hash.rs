//! The hash by which a running Job is compared with its stream's spec.
//!
//! It is the one that the Go operator computes, so that a cluster can move
//! over with no Job restarted: MD5 over the spec as Go's `encoding/json`
//! prints it. Two things that don't change what runs are left out first:
//! `suspended`, and template namespaces that say what their absence says.

use md5::{Digest, Md5};
use serde_json::{Map, Value};

/// Where a layout keeps `suspended` and its references to templates, below
/// the spec.
struct Places {
    suspended: &'static [&'static str],
    template_refs: [&'static [&'static str]; 3],
}

const FLAT: Places = Places {
    suspended: &["suspended"],
    // No third one: the second twice does no harm.
    template_refs: [&["jobTemplateRef"], &["backfillJobTemplateRef"], &["backfillJobTemplateRef"]],
};

const EXECUTION_V1: Places = Places {
    suspended: &["execution", "suspended"],
    template_refs: [
        &["execution", "streamingBackend", "changeCapture", "jobTemplateRef"],
        &["execution", "streamingBackend", "batch", "jobTemplateRef"],
        &["execution", "backfillJobTemplateRef"],
    ],
};

const EXECUTION_V2: Places = Places {
    suspended: &["execution", "suspended"],
    template_refs: [
        &["execution", "streamingBackend", "changeCapture", "jobTemplateRef"],
        &["execution", "streamingBackend", "batch", "jobTemplateRef"],
        &["execution", "streamingBackend", "changeCapture", "backfillJobTemplateRef"],
    ],
};

impl Places {
    fn of(spec: &Value) -> &'static Self {
        match spec.pointer("/execution/layoutVersion").and_then(Value::as_str) {
            Some("v1") => &EXECUTION_V1,
            Some("v2") => &EXECUTION_V2,
            _ => &FLAT,
        }
    }
}

/// The configuration hash of a stream with this `spec` in this namespace.
pub fn configuration_hash(spec: &Value, stream_namespace: &str) -> String {
    let places = Places::of(spec);
    let mut spec = spec.clone();
    remove(&mut spec, places.suspended);
    for place in places.template_refs {
        remove_own_namespace(&mut spec, place, stream_namespace);
    }
    md5_hex(go_json(&spec).as_bytes())
}

/// Whether a Job with this `configuration-hash` may have been made by the Go
/// operator from this spec.
///
/// Any mixture counts of: each reference to a template in the stream's own
/// namespace with or without that namespace; `suspended` as it is, absent,
/// false or true; the hash of the spec alone, or that of a backfill (two
/// parts, of which the second, the request's, says nothing about the stream).
pub fn is_hash_of_go_operator(annotation: &str, spec: &Value, stream_namespace: &str) -> bool {
    match annotation.split_once(':') {
        // Of a backfill, the Go operator writes both hashes as hex of the
        // characters of the hex.
        Some((of_spec, of_request)) => {
            !of_request.is_empty()
                && variants(spec, stream_namespace)
                    .iter()
                    .any(|variant| hex(md5_hex(go_json(variant).as_bytes()).as_bytes()) == of_spec)
        }
        None => {
            variants(spec, stream_namespace).iter().any(|variant| md5_hex(go_json(variant).as_bytes()) == annotation)
        }
    }
}

/// The specs that mean the same as this one to the Go operator's hash.
fn variants(spec: &Value, stream_namespace: &str) -> Vec<Value> {
    let places = Places::of(spec);
    let mut variants = vec![spec.clone()];
    for suspended in [None, Some(false), Some(true)] {
        let mut variant = spec.clone();
        match suspended {
            None => remove(&mut variant, places.suspended),
            Some(suspended) => set(&mut variant, places.suspended, suspended.into()),
        }
        variants.push(variant);
    }
    for place in places.template_refs {
        let removed: Vec<Value> = variants
            .iter()
            .filter_map(|variant| {
                let mut without = variant.clone();
                remove_own_namespace(&mut without, place, stream_namespace).then_some(without)
            })
            .collect();
        variants.extend(removed);
    }
    variants
}

fn parent<'a>(spec: &'a mut Value, place: &[&'static str]) -> Option<(&'a mut Map<String, Value>, &'static str)> {
    let (last, parents) = place.split_last()?;
    let mut at = spec;
    for name in parents {
        at = at.get_mut(name)?;
    }
    Some((at.as_object_mut()?, last))
}

fn remove(spec: &mut Value, place: &[&'static str]) {
    if let Some((parent, name)) = parent(spec, place) {
        parent.remove(name);
    }
}

fn set(spec: &mut Value, place: &[&'static str], value: Value) {
    if let Some((parent, name)) = parent(spec, place) {
        parent.insert(name.to_owned(), value);
    }
}

/// Whether there was one to remove.
fn remove_own_namespace(spec: &mut Value, place: &[&'static str], own: &str) -> bool {
    let Some((parent, name)) = parent(spec, place) else {
        return false;
    };
    let Some(reference) = parent.get_mut(name).and_then(Value::as_object_mut) else {
        return false;
    };
    let is_own = reference.get("namespace").and_then(Value::as_str) == Some(own);
    is_own && reference.remove("namespace").is_some()
}

/// A value as Go's `encoding/json` prints it once Kubernetes has decoded it:
/// keys sorted by bytes, no spaces, `<`, `>`, `&`, U+2028 and U+2029 escaped,
/// numbers as int64 where they fit and were written without a fraction, else
/// as float64.
pub fn go_json(value: &Value) -> String {
    let mut out = String::new();
    write_value(&mut out, value);
    out
}

fn write_value(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => write_number(out, number),
        Value::String(text) => write_string(out, text),
        Value::Array(elements) => {
            out.push('[');
            for (index, element) in elements.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_value(out, element);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            // serde_json's map is sorted or not, as some feature of some
            // dependency has it.
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_unstable_by(|(a, _), (b, _)| a.as_bytes().cmp(b.as_bytes()));
            out.push('{');
            for (index, (name, value)) in fields.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_string(out, name);
                out.push(':');
                write_value(out, value);
            }
            out.push('}');
        }
    }
}

fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            _ => out.push(character),
        }
    }
    out.push('"');
}

fn write_number(out: &mut String, number: &serde_json::Number) {
    if let Some(integer) = number.as_i64() {
        out.push_str(&integer.to_string());
    } else if let Some(float) = number.as_f64() {
        write_float(out, float);
    }
}

fn write_float(out: &mut String, float: f64) {
    // Negative zero is read from the text `-0`, for so the API server prints
    // it; Go reads that as the integer 0.
    if float == 0.0 {
        out.push('0');
        return;
    }
    let size = float.abs();
    if (1e-6..1e21).contains(&size) {
        // Both languages print the shortest digits that read back the same.
        out.push_str(&float.to_string());
        return;
    }
    let text = format!("{float:e}");
    match text.split_once('e') {
        Some((mantissa, exponent)) if !exponent.starts_with('-') => {
            out.push_str(mantissa);
            out.push_str("e+");
            out.push_str(exponent);
        }
        _ => out.push_str(&text),
    }
}

fn md5_hex(bytes: &[u8]) -> String {
    hex(&Md5::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case(json!({"b": 1, "a": [], "B": {}}), r#"{"B":{},"a":[],"b":1}"#)]
    #[case(json!("<a href='x'>&\u{2028}\u{2029}</a>"), r#""\u003ca href='x'\u003e\u0026\u2028\u2029\u003c/a\u003e""#)]
    #[case(json!("\u{0}\u{8}\u{c}\n\r\t\u{1f}\u{7f}\"\\é🙂"), "\"\\u0000\\b\\f\\n\\r\\t\\u001f\u{7f}\\\"\\\\é🙂\"")]
    #[case(json!(1.0), "1")]
    #[case(json!(-0.0), "0")]
    #[case(json!(0.1), "0.1")]
    #[case(json!(1e20), "100000000000000000000")]
    #[case(json!(1e21), "1e+21")]
    #[case(json!(-1.5e300), "-1.5e+300")]
    #[case(json!(0.000001), "0.000001")]
    #[case(json!(1e-7), "1e-7")]
    #[case(json!(2.5e-11), "2.5e-11")]
    #[case(json!(9223372036854775807_i64), "9223372036854775807")]
    #[case(json!(18446744073709551615_u64), "18446744073709552000")]
    fn values_are_printed_as_go_prints_them(#[case] value: Value, #[case] expected: &str) {
        assert_eq!(go_json(&value), expected);
    }

    #[test]
    fn floats_are_read_exactly() {
        // Without serde_json's `float_roundtrip` some are off by the last bit.
        for text in ["1.0715660391465826", "0.30000000000000004", "9007199254740993.5", "5e-324"] {
            let value: Value = serde_json::from_str(text).unwrap();
            let exact: f64 = text.parse().unwrap();
            assert_eq!(value.as_f64().unwrap().to_bits(), exact.to_bits(), "{text}");
        }
    }

    #[test]
    fn the_hash_is_md5_of_the_text() {
        // printf '{"sourceTable":"orders"}' | md5sum
        assert_eq!(
            configuration_hash(&json!({"sourceTable": "orders"}), "data"),
            md5_hex(br#"{"sourceTable":"orders"}"#)
        );
        assert_eq!(md5_hex(b"abc"), "900150983cd24fb0d6963f7d28e17f72");
    }

    fn flat() -> Value {
        json!({
            "suspended": false,
            "jobTemplateRef": {"name": "a", "namespace": "data"},
            "backfillJobTemplateRef": {"name": "b", "namespace": "data"},
            "sourceTable": "orders",
        })
    }

    fn v1() -> Value {
        json!({
            "sourceTable": "orders",
            "suspended": "a plugin's own field",
            "execution": {
                "layoutVersion": "v1",
                "suspended": false,
                "streamingBackend": {"changeCapture": {"jobTemplateRef": {"name": "a", "namespace": "data"}}},
                "backfillJobTemplateRef": {"name": "b", "namespace": "data"},
            },
        })
    }

    fn v2() -> Value {
        json!({
            "sourceTable": "orders",
            "execution": {
                "layoutVersion": "v2",
                "suspended": false,
                "streamingBackend": {"changeCapture": {
                    "jobTemplateRef": {"name": "a", "namespace": "data"},
                    "backfillJobTemplateRef": {"name": "b", "namespace": "data"},
                }},
            },
        })
    }

    fn batch(layout: &str) -> Value {
        json!({
            "execution": {
                "layoutVersion": layout,
                "suspended": false,
                "streamingBackend": {
                    "changeCapture": null,
                    "batch": {"schedule": "0 * * * *", "jobTemplateRef": {"name": "a", "namespace": "data"}},
                },
            },
        })
    }

    fn suspended(mut spec: Value, value: Option<bool>) -> Value {
        let place = Places::of(&spec).suspended;
        match value {
            None => remove(&mut spec, place),
            Some(value) => set(&mut spec, place, value.into()),
        }
        spec
    }

    fn without_namespaces(mut spec: Value) -> Value {
        for place in Places::of(&spec).template_refs {
            remove_own_namespace(&mut spec, place, "data");
        }
        spec
    }

    #[rstest]
    #[case::flat(flat(), 2)]
    #[case::v1(v1(), 2)]
    #[case::v2(v2(), 2)]
    #[case::batch_v1(batch("v1"), 1)]
    #[case::batch_v2(batch("v2"), 1)]
    fn suspending_and_naming_the_own_namespace_change_no_hash(#[case] spec: Value, #[case] refs: usize) {
        let hash = configuration_hash(&spec, "data");
        for value in [None, Some(false), Some(true)] {
            assert_eq!(configuration_hash(&suspended(spec.clone(), value), "data"), hash);
        }
        let bare = without_namespaces(spec.clone());
        assert_eq!(bare.to_string().matches("namespace").count(), 0);
        assert_eq!(spec.to_string().matches("namespace").count(), refs);
        assert_eq!(configuration_hash(&bare, "data"), hash);
        assert_ne!(configuration_hash(&spec, "elsewhere"), hash);

        let mut changed = spec;
        changed["sourceTable"] = json!("customers");
        assert_ne!(configuration_hash(&changed, "data"), hash);
    }

    #[test]
    fn a_plugins_own_suspended_field_counts() {
        let mut other = v1();
        other["suspended"] = json!("changed");
        assert_ne!(configuration_hash(&other, "data"), configuration_hash(&v1(), "data"));
    }

    #[rstest]
    #[case(flat())]
    #[case(v1())]
    #[case(v2())]
    fn a_job_of_the_go_operator_is_recognised(#[case] spec: Value) {
        let of = |spec: &Value| md5_hex(go_json(spec).as_bytes());
        let bare = without_namespaces(spec.clone());
        for made_from in [&spec, &bare] {
            for value in [None, Some(false), Some(true)] {
                let hash = of(&suspended(made_from.clone(), value));
                assert!(is_hash_of_go_operator(&hash, &spec, "data"));
                let backfill = format!("{}:{}", hex(hash.as_bytes()), hex(of(&json!({})).as_bytes()));
                assert!(is_hash_of_go_operator(&backfill, &spec, "data"));
                // The one form isn't the other.
                assert!(!is_hash_of_go_operator(&format!("{hash}:{hash}"), &spec, "data"));
                assert!(!is_hash_of_go_operator(&hex(hash.as_bytes()), &spec, "data"));
            }
        }
        // One namespace kept, the other removed.
        let mut mixed = spec.clone();
        remove_own_namespace(&mut mixed, Places::of(&spec).template_refs[0], "data");
        assert!(is_hash_of_go_operator(&of(&mixed), &spec, "data"));

        let mut changed = spec.clone();
        changed["sourceTable"] = json!("customers");
        assert!(!is_hash_of_go_operator(&of(&changed), &spec, "data"));
        assert!(!is_hash_of_go_operator("", &spec, "data"));
        assert!(!is_hash_of_go_operator(":", &spec, "data"));
    }
}
