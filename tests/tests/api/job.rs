//! Contract §4: what a Job looks like.

use arcane_tests::fixture::{controller_rules, streams_of, variable};
use arcane_tests::{PodBehaviour, PodKind};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Container;
use kube::ResourceExt as _;
use serde_json::{Value, json};

use crate::world::*;

fn container(job: &Job) -> &Container {
    &job.spec.as_ref().unwrap().template.spec.as_ref().unwrap().containers[0]
}

fn pod_labels(job: &Job) -> &std::collections::BTreeMap<String, String> {
    job.spec.as_ref().unwrap().template.metadata.as_ref().unwrap().labels.as_ref().unwrap()
}

#[test]
fn jobs_and_pods_carry_labels_annotations_environment_and_owner() {
    on_a_cluster(async |ns| {
        ns.fixture().kubelet().set(ns.name(), "orders", PodKind::Backfill, PodBehaviour::runs());
        let stream = a_stream(ns, "orders", spec()).await;
        let backfill = backfilling(ns, "orders").await;
        ns.fixture().kubelet().unset(ns.name(), "orders", PodKind::Backfill);
        let streaming = running(ns, "orders").await;
        assert_eq!((backfill.name_any(), streaming.name_any()), ("orders-backfill".into(), "orders".into()));

        for (job, is_backfill) in [(&streaming, "false"), (&backfill, "true")] {
            for labels in [job.labels(), pod_labels(job)] {
                assert_eq!(labels["streamId"], "orders");
                assert_eq!(labels["arcane/stream-id"], "orders");
                assert_eq!(labels["arcane/stream-kind"], "SqlServerChangeTrackingStream");
                assert_eq!(labels["arcane/backfilling"], is_backfill);
                assert_eq!(labels["app.kubernetes.io/managed-by"], "arcane-operator");
            }
            let annotations = job.annotations();
            let hash = &annotations["configuration-hash"];
            assert!(hash.len() == 32 && hash.chars().all(|c| c.is_ascii_hexdigit()), "{hash}");
            assert_eq!(annotations["arcane/stream-generation"], "1");
            assert_eq!(annotations["arcane/stream-class"], "sqlserver-change-tracking-stream");
            assert_eq!(annotations["arcane/template"], format!("{}/once", ns.name()));
            assert!(!annotations["arcane/template-hash"].is_empty());
            assert_eq!(variable(job, "STREAMCONTEXT__STREAM_ID"), Some("orders"));
            assert_eq!(variable(job, "STREAMCONTEXT__STREAM_KIND"), Some("SqlServerChangeTrackingStream"));
            assert_eq!(variable(job, "STREAMCONTEXT__BACKFILL"), Some(is_backfill));
            assert_eq!(
                variable(job, "STREAMCONTEXT__SPEC"),
                Some(
                    r#"{"jobTemplateRef":{"name":"once"},"secretRef":{"name":"my-database-creds"},"sourceDatabase":"OrdersDB","sourceTable":"Orders"}"#
                )
            );
            let [owner] = job.owner_references() else { panic!("{:?}", job.owner_references()) };
            assert_eq!(Some(&owner.uid), stream.metadata.uid.as_ref());
            assert_eq!((owner.controller, owner.block_owner_deletion), (Some(true), Some(true)));
            assert_eq!(owner.api_version, "streaming.sneaksanddata.com/v1");
            let pod = job.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
            assert_eq!(pod.restart_policy.as_deref(), Some("Never"), "the template has none");
        }
        assert_eq!(variable(&streaming, "STREAMCONTEXT__BACKFILL_ID"), None);
        assert_eq!(variable(&streaming, "STREAMCONTEXT__OVERRIDE"), None);
        let request = &requests(ns).await[0];
        assert_eq!(backfill_id(&backfill), request.name_any());
        assert_eq!(Some(&backfill.annotations()["arcane/backfill-request-uid"]), request.metadata.uid.as_ref());
        let of_request: Value = serde_json::from_str(variable(&backfill, "STREAMCONTEXT__OVERRIDE").unwrap()).unwrap();
        assert_eq!(of_request["streamId"], "orders");
    });
}

#[test]
fn a_template_in_any_of_the_three_shapes_makes_the_same_job() {
    on_a_cluster(async |ns| {
        let job_spec = json!({
            "backoffLimit": 7, "ttlSecondsAfterFinished": 60,
            "template": {
                "metadata": {"labels": {"team": "a"}},
                "spec": {"containers": [{
                    "name": "stream", "image": "example.com/stream:1",
                    "env": [{"name": "LOG_LEVEL", "value": "DEBUG"}, {"name": "connectionString", "value": "mine"}],
                }]},
            },
        });
        let metadata = json!({"labels": {"tier": "gold"}, "annotations": {"note": "kept"}});
        let shapes = [
            ("guide", job_spec.clone()),
            ("whole", json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": job_spec})),
            ("legacy", json!({"kind": "job", "metadata": metadata, "template": {"metadata": {}, "spec": job_spec}})),
        ];
        let kind = streams_of("streaming.sneaksanddata.com", "v1", "StreamingJobTemplate", "streamingjobtemplates");
        for (name, template) in shapes {
            create(ns, &kind, name, template).await;
            a_stream(ns, name, spec_with(json!({"jobTemplateRef": {"name": name}, "suspended": true}))).await;
            ns.phase(name, "Suspended").await;
            ns.merge(&ns.streams(), name, json!({"spec": {"suspended": false}})).await;
            let job = running(ns, name).await;
            assert_eq!(job.spec.as_ref().unwrap().backoff_limit, Some(7), "{name}");
            assert_eq!(job.spec.as_ref().unwrap().ttl_seconds_after_finished, None, "{name}");
            assert_eq!(job.annotations()["arcane/ttl-seconds-after-finished"], "60", "{name}");
            assert_eq!(pod_labels(&job)["team"], "a", "{name}");
            assert_eq!(variable(&job, "LOG_LEVEL"), Some("DEBUG"), "{name}");
            let entries: Vec<_> =
                container(&job).env.iter().flatten().filter(|it| it.name == "connectionString").collect();
            assert!(entries.len() == 1 && entries[0].value.is_none(), "ours replaces the template's: {entries:?}");
            if name != "guide" {
                assert_eq!(job.labels()["tier"], "gold", "{name}");
                assert_eq!(job.annotations()["note"], "kept", "{name}");
            }
            ns.condition(&ns.templates(), name, ("Valid", "True", "Valid")).await;
        }
    });
}

#[test]
fn dollars_reach_the_container_as_they_are() {
    on_a_cluster(async |ns| {
        let texts = ["$(HOME)", "$$", "a$b", "$(X) and $Y and $$(Z)", "<&>\u{2028}é"];
        for (index, text) in texts.into_iter().enumerate() {
            let name = format!("orders-{index}");
            create(ns, &test_streams(), &name, spec_with(json!({"query": text, "suspended": true}))).await;
            ns.phase_of(&test_streams(), &name, "Suspended").await;
            ns.merge(&ns.objects(&test_streams()), &name, json!({"spec": {"suspended": false}})).await;
            let job = running_of(ns, &test_streams(), &name).await;
            let value = variable(&job, "STREAMCONTEXT__SPEC").unwrap();
            let is_doubled = text.contains("$(") || text.contains("$$");
            assert_eq!(value.replace("$$", "").contains('$'), !is_doubled && text.contains('$'), "{value}");
            let seen: Value =
                serde_json::from_str(&if is_doubled { value.replace("$$", "$") } else { value.to_owned() }).unwrap();
            assert_eq!(seen["query"], text);
        }
    });
}

#[test]
fn a_key_of_the_streams_secret_becomes_a_variable() {
    on_a_cluster(async |ns| {
        let job = a_running_stream(ns, "orders").await;
        for name in ["connectionString", "storageAccountKey"] {
            let entry = container(&job).env.iter().flatten().find(|it| it.name == name).unwrap();
            let source = entry.value_from.as_ref().unwrap().secret_key_ref.as_ref().unwrap();
            assert_eq!((source.name.as_str(), source.key.as_str()), ("my-database-creds", name));
        }
        // The controller names Secrets, and may not read them.
        let resources = controller_rules().into_iter().flat_map(|rule| rule.resources.unwrap_or_default());
        assert!(!resources.into_iter().any(|resource| resource == "secrets"));
    });
}

#[test]
fn a_field_of_the_spec_that_names_a_secret_becomes_an_env_from_source() {
    on_a_cluster(async |ns| {
        let group = "streaming.sneaksanddata.com";
        ns.fixture().apply(None, &plugin_crd(group, "SecretiveStream", "secretivestreams")).await;
        let names = json!({"secretRefs": ["byName", "whole", "nothing", "fromKey"]});
        ns.fixture().apply(None, &class("secretive", group, "SecretiveStream", "secretivestreams", names)).await;
        let kind = streams_of(group, "v1", "SecretiveStream", "secretivestreams");
        let fields = json!({
            "byName": {"name": "first"},
            "whole": {"prefix": "P_", "secretRef": {"name": "second", "optional": true}},
            "nothing": null,
        });
        create(ns, &kind, "orders", spec_with(fields)).await;
        let job = running_of(ns, &kind, "orders").await;
        let sources = serde_json::to_value(&container(&job).env_from).unwrap();
        assert_eq!(
            sources,
            json!([
                {"secretRef": {"name": "first"}},
                {"prefix": "P_", "secretRef": {"name": "second", "optional": true}},
            ])
        );
        let names: Vec<&str> = container(&job).env.iter().flatten().map(|it| it.name.as_str()).collect();
        assert!(names.contains(&"fromKey") && !names.contains(&"nothing") && !names.contains(&"byName"), "{names:?}");
    });
}
