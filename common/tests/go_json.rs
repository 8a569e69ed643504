//! The configuration hash against the real thing: 1,000 specs, printed and
//! hashed by Go's own `encoding/json` and by ours.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use arcane_common::stream::configuration_hash::{configuration_hash, go_json};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::Value;

const SPECS: usize = 1_000;

#[test]
fn a_thousand_specs_print_and_hash_as_go_does() {
    if Command::new("go").arg("version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "`go` is not on PATH: CI needs it for this test");
        eprintln!("SKIPPED, because `go` is not on PATH: the configuration hash was NOT compared with Go's");
        return;
    }
    // Texts, not values: what Go reads must be what we read.
    let mut texts: Vec<String> = by_hand().iter().map(|text| format!(r#"{{"value":{text}}}"#)).collect();
    // The same specs each time, so that a failure can be looked at.
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    while texts.len() < SPECS {
        texts.push(spec().new_tree(&mut runner).expect("a spec").current());
    }

    let printed = go(&texts);
    assert_eq!(printed.len(), texts.len());
    for (text, line) in texts.iter().zip(&printed) {
        let value: Value = serde_json::from_str(text).unwrap();
        let (hash, json) = line.split_once(' ').unwrap();
        assert_eq!(go_json(&value), json, "of {text}");
        assert_eq!(configuration_hash(&value, "data"), hash, "of {text}");
    }
}

/// Runs the Go program once over all of them.
fn go(texts: &[String]) -> Vec<String> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/go_json");
    let mut child = Command::new("go")
        .args(["run", "."])
        .current_dir(program)
        .env("GOWORK", "off")
        .env("GOTOOLCHAIN", "local")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("`go run` starts");
    let input = texts.join("\n");
    let mut stdin = child.stdin.take().unwrap();
    // On its own thread: with both pipes full each side would wait for the other.
    let writer = std::thread::spawn(move || std::io::Write::write_all(&mut stdin, input.as_bytes()));
    let output = child.wait_with_output().expect("`go run` ends");
    writer.join().unwrap().expect("Go reads everything");
    assert!(output.status.success(), "`go run` failed: {}", output.status);
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// The values at which printers differ.
fn by_hand() -> Vec<String> {
    let numbers = [
        "0",
        "-0",
        "-0.0",
        "0.0",
        "1.0",
        "-1",
        "1e0",
        "1E5",
        "1.5e3",
        "100000000000000000000",
        "1e20",
        "999999999999999900000",
        "1e21",
        "1.0e+21",
        "123456789e20",
        "1e-6",
        "0.000001",
        "1e-7",
        "0.0000001",
        "9.99e-7",
        "1e-9",
        "1e-10",
        "1e100",
        "-1e-100",
        "5e-324",
        "1.7976931348623157e308",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "-9223372036854775809",
        "18446744073709551615",
        "18446744073709551616",
        "9007199254740993",
        "9007199254740993.0",
        "0.1",
        "0.30000000000000004",
        "1.0715660391465826",
        "3.141592653589793238462643383279",
    ];
    let others = [
        "null",
        "true",
        "{}",
        "[]",
        "[[],{},[{}]]",
        r#"{"a":{"b":{"c":[]}}}"#,
        r#""""#,
        r#""<&>""#,
        r#""\u2028\u2029\u0000\b\f\n\r\t\u001f\u007f\/\"\\""#,
        r#""é ü 漢字 🙂 \ud83d\ude00""#,
        r#"{"<":1,"é":2,"z":3,"Z":4,"":5,"a.b":6,"\ue000":7,"😀":8}"#,
    ];
    numbers.iter().chain(&others).map(ToString::to_string).collect()
}

/// A spec as JSON text.
fn spec() -> impl Strategy<Value = String> {
    object(value())
}

fn value() -> BoxedStrategy<String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        any::<i64>().prop_map(|value| value.to_string()),
        any::<u64>().prop_map(|value| value.to_string()),
        any::<i128>().prop_map(|value| value.to_string()),
        (-1000_i64..1000).prop_map(|value| value.to_string()),
        proptest::num::f64::NORMAL.prop_map(|value| format!("{value:e}")),
        (-1e6..1e6_f64).prop_map(|value| value.to_string()),
        (any::<i32>(), -30..30_i32).prop_map(|(mantissa, exponent)| format!("{mantissa}e{exponent}")),
        text(),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(|elements| format!("[{}]", elements.join(","))),
            object(inner),
        ]
    })
    .boxed()
}

fn object(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    proptest::collection::vec((text(), value), 0..6).prop_map(|fields| {
        let mut seen = std::collections::BTreeSet::new();
        let mut json = String::from("{");
        for (name, value) in fields {
            if seen.insert(name.clone()) {
                let comma = if json.len() > 1 { "," } else { "" };
                write!(json, "{comma}{name}:{value}").unwrap();
            }
        }
        json.push('}');
        json
    })
}

/// A string as JSON text: any characters, and those with a meaning more often.
fn text() -> impl Strategy<Value = String> {
    prop_oneof!["\\PC{0,12}", "[<>&\u{2028}\u{2029}\"\\\\/a-c\u{0}-\u{1f}\u{7f}]{0,12}", "[a-zA-Z.]{1,10}"]
        .prop_map(|text: String| serde_json::to_string(&text).unwrap())
}
