//! What is particular to some of the plugins.

use std::time::Duration;

use arcane_tests::fixture::until;
use arcane_tests::{PodBehaviour, PodKind};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use serde_json::json;

use crate::asked;
use crate::life::Life;
use crate::plugins::{PARQUET_TABLE, Plugin, plugin};
use crate::world::{applied_quietly, kubectl_with, on_a_cluster};
use arcane_tests::manifests::{CHART, Manifest, STREAMS, manifest, text_of};

/// The stream of an example without its `execution`.
fn silent(plugin: &Plugin, namespace: &str) -> Manifest {
    let mut value = manifest(plugin.directory, STREAMS, namespace, plugin.kind, plugin.stream).value;
    value["spec"].as_object_mut().unwrap().remove("execution");
    Manifest { text: value.to_string(), value }
}

/// The plugin's own defaults: suspended, and a template of another namespace than the stream's.
#[test]
fn a_stream_that_says_nothing_of_its_execution_is_suspended_with_a_template_of_namespace_default() {
    on_a_cluster(async |world, ns| {
        let (fixture, sql_server) = (&world.fixture, plugin("SqlServerStream"));
        static TABLE: Plugin = PARQUET_TABLE;
        for plugin in [sql_server, &TABLE] {
            let silent = silent(plugin, ns.name());
            let said = kubectl_with(fixture, &["create", "--validate=strict"], &silent.text).await;
            let field = "spec.execution.streamingBackend.changeCapture.jobTemplateRef.name: Not found: \"standard-job-template\"";
            assert!(!said.status.success() && said.stderr.contains(field), "{}", said.stderr);
            assert!(
                said.stderr.contains("in namespace default"),
                "what its user didn't write is told: {}",
                said.stderr
            );
        }
        let template = manifest("sql-server", CHART, "default", "StreamingJobTemplate", "standard-job-template");
        applied_quietly(fixture, &template.text).await;
        // The pods run under an account of the stream's namespace.
        let account = manifest("sql-server", CHART, ns.name(), "ServiceAccount", "arcane-stream-sql-server");
        applied_quietly(fixture, &account.text).await;
        for plugin in [sql_server, &TABLE] {
            applied_quietly(fixture, &silent(plugin, ns.name()).text).await;
            let api = ns.objects(&plugin.resource());
            let suspended = |stream: &serde_json::Value| stream["status"]["phase"] == "Suspended";
            let stream = ns.until(&api, plugin.stream, "Suspended stream", suspended).await;
            assert_eq!(stream["spec"]["execution"]["suspended"], true);
            assert_eq!(stream["metadata"]["generation"], 1);
        }
        asked::nothing_loops(ns).await;
        assert!(ns.requests().list(&Default::default()).await.unwrap().items.is_empty());

        let api = ns.objects(&sql_server.resource());
        ns.merge(&api, sql_server.stream, json!({"spec": {"execution": {"suspended": false}}})).await;
        let running = |stream: &serde_json::Value| stream["status"]["phase"] == "Running";
        let stream = ns.until(&api, sql_server.stream, "Running stream", running).await;
        assert_eq!(stream["metadata"]["generation"], 2);
        let job =
            ns.job(sql_server.stream, "running", |job| job.status.as_ref().and_then(|it| it.ready) == Some(1)).await;
        assert_eq!(job.annotations()["arcane/template"], "default/standard-job-template");
        let diff = kubectl_with(fixture, &["diff"], &silent(&TABLE, ns.name()).text).await;
        assert!(diff.status.success(), "the defaults are no drift: {}{}", diff.stdout, diff.stderr);
        fixture.kubectl(&["delete", "streamingjobtemplate", "standard-job-template", "-n", "default"]).await;
    });
}

/// As the template has it: four pods, with longer and longer pauses between them.
#[test]
fn a_stream_fails_when_its_program_has_failed_more_often_than_its_template_allows() {
    on_a_cluster(async |world, ns| {
        let mut life = Life::new(world, ns, plugin("SqlServerStreamBeta"));
        life.applied(&life.chart()).await;
        life.applied(&life.of_user()).await;
        life.generation = 1;
        let job = life.running().await;
        // One that asks for another try doesn't count.
        life.a_pod_exits(2).await;
        let before = life.runs(PodKind::Streaming).len();
        life.let_pods(PodKind::Streaming, PodBehaviour::exits(1, Duration::ZERO));
        // Longer than any other wait: the pauses alone are 10, 10, 20 and 40 s.
        let failed = arcane_tests::eventually(Duration::from_secs(240), "Failed stream", || async {
            let stream = life.stream().await;
            if stream["status"]["phase"] == "Failed" { Ok(stream) } else { Err(stream["status"].to_string()) }
        })
        .await
        .unwrap_or_else(|timeout| panic!("{timeout}"));
        assert!(life.said(&failed).1.contains("BackoffLimitExceeded"), "{failed}");
        assert!(life.said(&failed).1.contains("exit code 1"), "{failed}");
        assert_eq!(life.runs(PodKind::Streaming).len() - before, 4, "the first and three more");
        assert_eq!(life.jobs().await.iter().filter(|it| it.uid() == job.uid()).count(), 1);
    });
}

/// `kubectl apply` without `--server-side` drops the null, and an absent field isn't the same: that is told with its field.
#[test]
fn a_secret_of_null_is_a_matter_of_who_applies_it() {
    on_a_cluster(async |world, ns| {
        let life = Life::new(world, ns, plugin("JsonArchiveStream"));
        life.applied(&life.chart()).await;
        let said = kubectl_with(&world.fixture, &["apply", "--validate=strict"], &life.manifest().text).await;
        let field = "spec.sinkSecretRef: Required value";
        assert!(!said.status.success() && said.stderr.contains(field), "{}{}", said.stdout, said.stderr);
        for arguments in [["create", "--dry-run=server"], ["apply", "--server-side"]] {
            let said = kubectl_with(&world.fixture, &arguments, &life.manifest().text).await;
            assert!(said.status.success() && said.stderr.is_empty(), "{arguments:?}: {}", said.stderr);
        }
    });
}

/// The namespaces of these tests take no others.
#[test]
fn pods_are_restricted_as_the_template_says() {
    on_a_cluster(async |world, ns| {
        let mut life = Life::new(world, ns, plugin("JsonStream"));
        life.applied(&life.chart()).await;
        life.applied(&life.of_user()).await;
        life.generation = 1;
        let job = life.running().await;
        let of_job = format!("batch.kubernetes.io/job-name={}", job.name_any());
        let pods = ns.pods().list(&kube::api::ListParams::default().labels(&of_job)).await.unwrap();
        let pod: &Pod = &pods.items[0];
        assert_eq!(pod.spec.as_ref().unwrap().service_account_name.as_deref(), Some("arcane-stream-json"));
        let unrestricted = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "unrestricted"},
            "spec": {"containers": [{"name": "any", "image": "example.com/any:1"}]}}"#;
        let said = kubectl_with(&world.fixture, &["create", "-n", ns.name()], unrestricted).await;
        assert!(said.stderr.contains("violates PodSecurity"), "{}", said.stderr);
    });
}

/// A client that comes again may bring the stream before its templates.
#[test]
fn helm_is_warned_of_templates_that_are_still_to_come() {
    on_a_cluster(async |world, ns| {
        let mut life = Life::new(world, ns, plugin("SynapseLinkStream"));
        let accounts: Vec<Manifest> =
            life.chart().into_iter().filter(|it| it.kind() == "ServiceAccount").chain(life.of_user()).collect();
        let arguments = ["apply", "--server-side", "--field-manager=helm", "--validate=strict"];
        let said = kubectl_with(&world.fixture, &arguments, &text_of(&accounts)).await;
        assert!(said.status.success(), "{}", said.stderr);
        let mut warnings: Vec<&str> = said.stderr.lines().collect();
        warnings.sort_unstable();
        assert_eq!(warnings.len(), 2, "{warnings:#?}");
        for (warning, field) in warnings.iter().zip(["spec.backfillJobTemplateRef.name", "spec.jobTemplateRef.name"]) {
            assert!(warning.starts_with(&format!("Warning: {field}: Not found")), "of the defaults, too: {warning}");
        }
        life.generation = 1;
        life.says("Pending", "False", "TemplateMissing: spec.").await;
        asked::nothing_loops(ns).await;
        life.applied(&life.chart()).await;
        life.running().await;
        assert_eq!(life.requests().await.len(), 1, "the initial backfill is made up for");
    });
}

/// A new version of a plugin that fills in another field restarts nothing.
#[test]
fn a_field_that_the_next_version_of_a_plugin_fills_in_restarts_nothing() {
    on_a_cluster(async |world, ns| {
        let mut life = Life::new(world, ns, plugin("PullStream"));
        life.applied(&life.chart()).await;
        life.applied(&life.of_user()).await;
        life.generation = 1;
        life.patched(&life.plugin.suspension(false)).await;
        let job = life.running().await;
        let crd = format!("{}.streaming.sneaksanddata.com", life.plugin.plural);
        let field = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/pageSize";
        let patch = json!([{"op": "add", "path": field, "value": {"type": "integer", "default": 100}}]).to_string();
        world.fixture.kubectl(&["patch", "crd", &crd, "--type=json", "-p", &patch]).await;
        let filled_in = |stream: &serde_json::Value| stream["spec"]["pageSize"] == 100;
        let api = ns.objects(&life.plugin.resource());
        until(&api, life.plugin.stream, "filled in", filled_in).await;
        asked::nothing_loops(ns).await;
        // Stored by the next write, whatever it is; the API server counts that as a change.
        let label = json!({"metadata": {"labels": {"team": "support"}}});
        let stream = ns.merge(&api, life.plugin.stream, label).await;
        life.generation = stream.metadata.generation.unwrap();
        asked::nothing_loops(ns).await;
        let stream = life.phase("Running").await;
        assert_eq!(stream["status"]["phase"], "Running");
        let now: Vec<_> =
            life.jobs().await.iter().map(|job| (job.uid(), job.metadata.deletion_timestamp.clone())).collect();
        assert_eq!(now, [(job.uid(), None)]);
        let patch = json!([{"op": "remove", "path": field}]).to_string();
        world.fixture.kubectl(&["patch", "crd", &crd, "--type=json", "-p", &patch]).await;
    });
}
