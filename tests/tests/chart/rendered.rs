//! What is rendered, as text.

use std::collections::BTreeSet;
use std::process::Command;

use arcane_tests::{controller_binary, webhook_binary};

use crate::world::*;

#[test]
fn helm_finds_nothing_to_complain_of() {
    for (way, values) in WAYS {
        let chart = chart();
        let said = tools().run("helm", &["lint", &chart, "--strict", "--quiet", "--set", values]).unwrap();
        assert!(said.success, "{way}: {}{}", said.stdout, said.stderr);
    }
}

#[test]
fn the_charts_own_suite_passes() {
    let said = tools().run("helm-unittest", &[&chart(), "--strict"]).unwrap();
    assert!(said.success, "{}{}", said.stdout, said.stderr);
}

#[test]
fn a_hundred_renders_are_the_same_bytes() {
    for (way, values) in WAYS {
        // The one with everything in it has most to put in order.
        let times = if way == "everything" { 100 } else { 10 };
        let renders: BTreeSet<String> = (0..times).map(|_| render(values)).collect();
        assert_eq!(renders.len(), 1, "{way}");
    }
}

#[test]
fn no_key_no_certificate_and_no_registration_is_rendered() {
    for (way, values) in WAYS {
        let text = render(values);
        for secret in ["BEGIN ", "caBundle", "kind: Secret\n", "WebhookConfiguration\n"] {
            assert!(!text.contains(secret), "{way}: {secret}");
        }
    }
}

#[test]
fn no_line_ends_in_blanks_and_nothing_is_left_of_the_templates() {
    for (way, values) in WAYS {
        for line in render(values).lines() {
            assert!(!line.ends_with(' '), "{way}: {line:?}");
            assert!(!line.contains("<no value>") && !line.contains("NAMESPACE\""), "{way}: {line:?}");
        }
    }
}

/// With `--help` behind them, arguments are read and nothing is started.
#[test]
fn the_processes_take_every_flag_that_they_are_given() {
    for (way, values) in WAYS {
        let objects = objects(values);
        let mut given = vec![("arcane-operator", controller_binary().unwrap())];
        if way != "no webhook" {
            given.push(("arcane-operator-webhook", webhook_binary().unwrap()));
        }
        for (name, binary) in given {
            let arguments = arguments(object(&objects, "Deployment", name));
            let said = Command::new(binary).args(&arguments).arg("--help").output().unwrap();
            assert!(said.status.success(), "{way}, {name}: {}", String::from_utf8_lossy(&said.stderr));
            assert_eq!(
                arguments.iter().any(|argument| argument.starts_with("--namespace-selector=")),
                way == "everything" && name == "arcane-operator-webhook",
                "{way}, {name}: {arguments:?}"
            );
        }
    }
    // Flags that nobody knows would be told.
    let said = Command::new(controller_binary().unwrap()).args(["--nonsense=1", "--help"]).output().unwrap();
    assert!(!said.status.success());
}
