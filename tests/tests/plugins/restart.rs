//! All plugins in one namespace, brought as Helm brings them, and a controller that starts again.

use std::time::Duration;

use arcane_tests::fixture::SOON;
use arcane_tests::manifests::{CHART, KINDS, Manifest, STREAMS, manifests, text_of};
use arcane_tests::{OperatorOptions, OperatorProcess, eventually};
use serde_json::json;

use crate::asked;
use crate::plugins::{DIRECTORIES, plugin};
use crate::world::{a_cluster, a_namespace, applied_quietly, kubectl_with, without_the_cluster};

const WELL_KNOWN: [&str; 4] = ["Secret", "ServiceAccount", "ClusterRole", "ClusterRoleBinding"];

/// Helm installs the kinds it knows first, then all others by their kinds' names: streams before their classes and templates.
fn in_helms_order(namespace: &str) -> Vec<Manifest> {
    let of = |directory| [CHART, STREAMS].into_iter().flat_map(move |file| manifests(directory, file, namespace));
    let mut all: Vec<Manifest> = DIRECTORIES.into_iter().flat_map(of).collect();
    // Two plugins have a template of one name; in one namespace the first one's serves both.
    let mut seen = std::collections::HashSet::new();
    all.retain(|manifest| seen.insert((manifest.kind().to_owned(), manifest.value["metadata"]["name"].to_string())));
    let place = |manifest: &Manifest| {
        let known = WELL_KNOWN.iter().position(|kind| *kind == manifest.kind()).unwrap_or(WELL_KNOWN.len());
        (known, manifest.kind().to_owned())
    };
    all.sort_by_key(place);
    all
}

#[test]
fn what_comes_in_helms_order_comes_to_run_and_a_controller_that_starts_again_finds_nothing_to_do() {
    without_the_cluster(async {
        let (fixture, webhook) = a_cluster(false).await;
        let process = webhook.start().await;
        let start = async |log: &str| {
            let started =
                OperatorProcess::start(OperatorOptions { ready_within: Some(SOON), ..fixture.operator_options(log) });
            started.await.unwrap_or_else(|error| panic!("{error}"))
        };
        let controller = start("first.log").await;
        let ns = a_namespace(&fixture, "helm").await;
        for directory in DIRECTORIES {
            applied_quietly(&fixture, &text_of(&manifests(directory, KINDS, ns.name()))).await;
        }
        fixture.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"]).await;
        let all = in_helms_order(ns.name());
        let arguments = ["apply", "--server-side", "--field-manager=helm", "--validate=strict"];
        let said = kubectl_with(&fixture, &arguments, &text_of(&all)).await;
        assert!(said.status.success(), "nothing is refused: {}", said.stderr);
        assert!(said.stderr.lines().all(|line| line.starts_with("Warning: ")), "{}", said.stderr);
        let no_class = "no StreamClass registers JsonStream.streaming.sneaksanddata.com";
        assert!(said.stderr.contains(no_class), "{}", said.stderr);

        let streams: Vec<&Manifest> = all.iter().filter(|it| it.value["spec"].get("source").is_some()).collect();
        assert_eq!(streams.len(), 13);
        come_to(&ns, &streams, |name| if name == "tickets" { "Suspended" } else { "Running" }).await;

        // One that is suspended and one that waits, of kinds whose conditions have no reason.
        let patch = async |kind: &str, patch| {
            let plugin = plugin(kind);
            ns.merge(&ns.objects(&plugin.resource()), plugin.stream, patch).await;
        };
        patch("SqlServerStream", plugin("SqlServerStream").suspension(true)).await;
        ns.kubectl(&["delete", "jsonstreams", "clicks"]).await;
        let waits = streams.iter().find(|it| it.is("JsonStream", "clicks")).unwrap();
        let waits = waits.changed("waits", &json!({"spec": {"jobTemplateRef": {"name": "still-to-come"}}}));
        let said = kubectl_with(&fixture, &arguments, &waits.text).await;
        assert!(said.status.success(), "{}", said.stderr);
        ns.phase_of(&plugin("SqlServerStream").resource(), "orders", "Suspended").await;
        ns.phase_of(&plugin("JsonStream").resource(), "waits", "RESTARTING").await;

        // The numbers in the classes' statuses come last, at most 5 s later.
        asked::nothing_for(&ns, Duration::from_secs(6)).await;
        let status = controller.terminate(SOON).await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(status, 0);
        let events = ns.kubectl(&["get", "events", "-o", "name"]).await;
        let mark = asked::now(&fixture);
        let controller = start("second.log").await;
        eventually(SOON, "look at every stream", || async {
            let metrics = controller.metrics().await.map_err(|error| error.to_string())?;
            let sum = |start: &str, kind: &str| -> f64 {
                let lines = metrics.lines().filter(|line| line.starts_with(start) && line.contains(kind));
                lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
            };
            let looks = sum("arcane_reconciles_total{", "kind=\"Stream\"");
            let rest = sum("arcane_queue_length{", "");
            if looks >= streams.len() as f64 && rest == 0.0 {
                Ok(())
            } else {
                Err(format!("{looks} looks, {rest} queued"))
            }
        })
        .await
        .unwrap_or_else(|timeout| panic!("{timeout}"));
        asked::nothing_for(&ns, Duration::from_secs(3)).await;
        let asked = asked::since(&ns, mark);
        assert!(asked.is_empty(), "{asked:#?}");
        assert_eq!(ns.kubectl(&["get", "events", "-o", "name"]).await, events);
        drop((controller, process));
        fixture.stop().await;
    });
}

/// Waits until each stream is in the phase that is right for its name, in its kind's words.
async fn come_to(ns: &arcane_tests::TestNamespace<'_>, streams: &[&Manifest], phase: impl Fn(&str) -> &'static str) {
    eventually(SOON, "streams that run", || async {
        let mut wrong = Vec::new();
        for stream in streams {
            let (kind, name) = (stream.kind(), stream.value["metadata"]["name"].as_str().unwrap());
            let got = ns.kubectl(&["get", kind, name, "-o", "jsonpath={.status.phase}"]).await;
            let right = phase(name);
            if got != right && got != right.to_uppercase() {
                wrong.push(format!("{kind} {name}: {got:?}"));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join(", ")) }
    })
    .await
    .unwrap_or_else(|timeout| panic!("{timeout}"));
}
