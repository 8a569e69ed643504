//! The webhook registers itself, and puts right whatever somebody changes.

use std::time::Instant;

use arcane_tests::fixture::{SOON, any_object, condition_of, definition_of, repository_file, streams_of, until};
use arcane_tests::webhook::{SECRET, WEBHOOK};
use arcane_tests::{Fixture, FixtureOptions, OperatorProcess, WebhookAccess, eventually};
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use crate::world::*;

const OPERATOR_NAMESPACE: &str = arcane_tests::fixture::OPERATOR_NAMESPACE;

async fn is_judging(fixture: &Fixture) -> Result<(), String> {
    let said = fixture.shell(".", "kubectl apply --dry-run=server -f examples/guide/my-stream.yaml").await;
    let said = format!("{}{}", said.stdout, said.stderr);
    if said.contains("spec.jobTemplateRef.name: Not found") { Ok(()) } else { Err(said) }
}

async fn judges_again(fixture: &Fixture, after: &str) {
    let since = Instant::now();
    eventually(SOON, &format!("judgement after {after}"), || is_judging(fixture))
        .await
        .unwrap_or_else(|timeout| panic!("{timeout}"));
    eprintln!("judges again {:.1?} after {after}", since.elapsed());
}

#[test]
fn whatever_is_deleted_or_changed_is_put_right_within_seconds() {
    on_its_own_cluster(no_controller(), async |fixture, webhook| {
        let process = webhook.start().await;
        fixture.kubectl(&["create", "namespace", "data-streaming"]).await;
        judges_again(fixture, "the start").await;

        let validating: Api<ValidatingWebhookConfiguration> = Api::all(fixture.client());
        let mutating: Api<MutatingWebhookConfiguration> = Api::all(fixture.client());
        let secrets: Api<Secret> = Api::namespaced(fixture.client(), OPERATOR_NAMESPACE);
        let uid = |configurations: &(Option<ValidatingWebhookConfiguration>, Option<MutatingWebhookConfiguration>)| {
            let of = |uid: Option<String>| uid.unwrap_or_default();
            (
                of(configurations.0.as_ref().and_then(|it| it.uid())),
                of(configurations.1.as_ref().and_then(|it| it.uid())),
            )
        };
        let before = webhook.configurations().await;

        validating.delete(WEBHOOK, &DeleteParams::default()).await.unwrap();
        mutating.delete(WEBHOOK, &DeleteParams::default()).await.unwrap();
        let old = uid(&before);
        webhook
            .registered(|validating, mutating| {
                let new = (validating.uid().unwrap_or_default(), mutating.uid().unwrap_or_default());
                if new.0 != old.0 && new.1 != old.1 { Ok(()) } else { Err("the old ones".to_owned()) }
            })
            .await;
        judges_again(fixture, "both configurations were deleted").await;
        let again = webhook.configurations().await;
        assert_eq!(before.0.unwrap().webhooks, again.0.as_ref().unwrap().webhooks, "they say the same as before");

        let right = again.0.unwrap().webhooks.unwrap();
        let mangled = json!({"webhooks": [{"name": right[0].name, "clientConfig": {"caBundle": "cnViYmlzaA=="},
            "admissionReviewVersions": ["v1"], "sideEffects": "None"}]});
        validating.patch(WEBHOOK, &PatchParams::default(), &Patch::Strategic(mangled)).await.ok();
        let rules_gone = json!([{"op": "replace", "path": "/webhooks/0/rules", "value": []}]);
        let patch: json_patch::Patch = serde_json::from_value(rules_gone).unwrap();
        validating.patch(WEBHOOK, &PatchParams::default(), &Patch::Json::<()>(patch)).await.unwrap();
        webhook
            .registered(|validating, _| {
                if validating.webhooks.as_ref() == Some(&right) { Ok(()) } else { Err(format!("{validating:?}")) }
            })
            .await;
        judges_again(fixture, "rules and bundle were mangled").await;

        secrets.delete(SECRET, &DeleteParams::default()).await.unwrap();
        let old_bundle = right[0].client_config.ca_bundle.clone().unwrap();
        webhook
            .registered(|validating, _| {
                let bundle = validating.webhooks.as_ref().unwrap()[0].client_config.ca_bundle.clone().unwrap();
                let keeps = String::from_utf8_lossy(&bundle.0).contains(String::from_utf8_lossy(&old_bundle.0).trim());
                if bundle != old_bundle && keeps { Ok(()) } else { Err("the bundle hasn't grown".to_owned()) }
            })
            .await;
        judges_again(fixture, "the Secret was deleted").await;

        let rubbish = json!({"data": {"current.crt": "cnViYmlzaA=="}});
        secrets.patch(SECRET, &PatchParams::default(), &Patch::Merge(rubbish)).await.unwrap();
        eventually(SOON, "Secret that can be read", || async {
            let secret = secrets.get(SECRET).await.map_err(|error| error.to_string())?;
            let certificate = secret.data.unwrap_or_default().remove("current.crt").unwrap_or_default();
            if certificate.0 == b"rubbish" { Err("rubbish".to_owned()) } else { Ok(()) }
        })
        .await
        .unwrap_or_else(|timeout| panic!("{timeout}"));
        judges_again(fixture, "the Secret was mangled").await;
        let log = std::fs::read_to_string(fixture.cluster().directory().join("webhook.log")).unwrap();
        let secret = secrets.get(SECRET).await.unwrap();
        let key = String::from_utf8(secret.data.unwrap()["current.key"].0.clone()).unwrap();
        let line = key.lines().nth(1).unwrap();
        assert!(line.len() > 20 && !log.contains(line), "a key stands in the log");

        is_quiet(fixture, webhook).await;
        goes_with_its_owner(fixture, webhook).await;
        WebhookAccess::end(process).await;
    });
}

/// When all is in order, nothing is asked for but watches and the Lease.
async fn is_quiet(fixture: &Fixture, webhook: &WebhookAccess) {
    let Some(log) = fixture.cluster().audit_log() else { return };
    let asked = |since| {
        let all = log.requests_since(since, webhook.name());
        all.into_iter().filter(|it| it.verb != "watch" && it.resource != "leases").collect::<Vec<_>>()
    };
    let mut since = log.now();
    let mut quiet_from = Instant::now();
    eventually(SOON, "ten seconds without requests", || {
        let found = asked(since);
        if !found.is_empty() {
            (since, quiet_from) = (log.now(), Instant::now());
        }
        let quiet = quiet_from.elapsed().as_secs() >= 10;
        async move { if quiet { Ok(()) } else { Err(format!("{found:#?}")) } }
    })
    .await
    .unwrap_or_else(|timeout| panic!("{timeout}"));
}

/// `helm uninstall` deletes the ClusterRole, and all that the webhook has made goes with it.
async fn goes_with_its_owner(fixture: &Fixture, webhook: &WebhookAccess) {
    let role: Api<ClusterRole> = Api::all(fixture.client());
    let role = role.get(WEBHOOK).await.unwrap().uid().unwrap();
    let (validating, mutating) = webhook.configurations().await;
    let secrets: Api<Secret> = Api::namespaced(fixture.client(), OPERATOR_NAMESPACE);
    let leases: Api<Lease> = Api::namespaced(fixture.client(), OPERATOR_NAMESPACE);
    for metadata in [
        validating.unwrap().metadata,
        mutating.unwrap().metadata,
        secrets.get(SECRET).await.unwrap().metadata,
        leases.get(WEBHOOK).await.unwrap().metadata,
    ] {
        let owners = metadata.owner_references.unwrap_or_default();
        assert_eq!(
            owners.iter().map(|owner| owner.uid.as_str()).collect::<Vec<_>>(),
            [role.as_str()],
            "{:?}",
            metadata.name
        );
    }
}

fn class(name: &str, group: &str, kind: &str, plural: &str) -> String {
    json!({
        "apiVersion": "streaming.sneaksanddata.com/v1", "kind": "StreamClass", "metadata": {"name": name},
        "spec": {"apiGroupRef": group, "apiVersion": "v1", "kindRef": kind, "pluralName": plural},
    })
    .to_string()
}

#[test]
fn rules_follow_the_classes_of_other_groups_and_such_a_class_is_ready_with_its_rule() {
    on_a_cluster(async |world, ns| {
        let (group, kind, plural) = ("followed.example.com", "FollowedStream", "followed-streams");
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": "followed", "labels": {"arcane/aggregate-to-controller": "true"}},
            "rules": [{"apiGroups": [group], "resources": ["*"], "verbs": ["*"]}],
        });
        let fixture = &world.fixture;
        fixture.apply(None, &role.to_string()).await;
        let has_rule = |validating: &ValidatingWebhookConfiguration| {
            let rules = validating.webhooks.as_ref().unwrap()[0].rules.as_ref().unwrap();
            rules.iter().any(|rule| rule.resources.as_ref().is_some_and(|all| all.iter().any(|one| one == plural)))
        };
        // Without a definition it may be anything, say a kind of Kubernetes itself.
        fixture.apply(None, &class("followed", group, kind, plural)).await;
        let classes = streams_of("streaming.sneaksanddata.com", "v1", "StreamClass", "streamclasses");
        let classes: Api<DynamicObject> = Api::all_with(fixture.client(), &classes);
        let lacks = |it: &Value| condition_of(it, "Ready")["reason"] == "CustomResourceDefinitionMissing";
        until(&classes, "followed", "class without a definition", lacks).await;
        assert!(!has_rule(&world.webhook.configurations().await.0.unwrap()));

        fixture.apply(None, &definition_of(group, kind, plural, any_object())).await;
        let ready = |it: &Value| it["status"]["phase"] == "Ready";
        until(&classes, "followed", "ready class", ready).await;
        assert!(has_rule(&world.webhook.configurations().await.0.unwrap()), "it is ready when its rule is in place");
        let bad = json!({
            "apiVersion": format!("{group}/v1"), "kind": kind, "metadata": {"name": "bad", "namespace": ns.name()},
            "spec": {"jobTemplateRef": {"name": "nowhere"}},
        });
        let line = format!("echo '{bad}' | kubectl apply -f -");
        eventually(SOON, "refusal", || async {
            let said = fixture.shell(".", &line).await;
            let refused = said.stderr.contains("spec.jobTemplateRef.name: Not found");
            if refused { Ok(()) } else { Err(format!("{}{}", said.stdout, said.stderr)) }
        })
        .await
        .unwrap_or_else(|timeout| panic!("{timeout}"));

        classes.delete("followed", &DeleteParams::default()).await.unwrap();
        let gone = |validating: &ValidatingWebhookConfiguration, _: &MutatingWebhookConfiguration| {
            if has_rule(validating) { Err("the rule is there".to_owned()) } else { Ok(()) }
        };
        world.webhook.registered(gone).await;
    });
}

#[test]
fn without_our_kinds_it_says_so_and_registers_nothing() {
    let options = FixtureOptions { crds: false, sample_plugin: false, ..no_controller() };
    on_its_own_cluster(options, async |fixture, webhook| {
        let mut options = webhook.options(webhook.port, "webhook.log");
        options.ready_within = None;
        let process = OperatorProcess::start(options).await.unwrap();
        let said = eventually(SOON, "what is missing", || async {
            let page = process.readiness().await.map_err(|error| error.to_string())?;
            // Definitions can be listed in any cluster.
            if page.contains("CustomResourceDefinitions") { Err(page) } else { Ok(page) }
        });
        let said = said.await.unwrap_or_else(|timeout| panic!("{timeout}"));
        for part in ["503", "StreamClasses: not listed yet", "StreamingJobTemplates: not listed yet", "certificate: "] {
            assert!(said.contains(part), "no {part:?} in: {said}");
        }
        let (validating, mutating) = webhook.configurations().await;
        assert!(validating.is_none() && mutating.is_none(), "who can't judge must not be called");
        fixture.apply(None, &repository_file("charts/arcane-operator/files/crds.yaml")).await;
        process.ready(SOON).await.unwrap();
        webhook.registered(|_, _| Ok(())).await;
        WebhookAccess::end(process).await;
    });
}

/// Specs that have nothing to do with streams, and spell out what conditions look at in every type there is.
fn strange_specs() -> Vec<Value> {
    let mut specs = vec![json!(null), json!("text"), json!(7), json!([1]), json!({}), json!({"a": null})];
    for value in [json!(null), json!("yes"), json!(1), json!([]), json!({}), json!(false)] {
        specs.push(json!({"suspended": value}));
        specs.push(json!({"execution": value, "suspended": value}));
        specs.push(json!({"execution": {"suspended": value}}));
    }
    specs
}

#[test]
fn while_no_webhook_answers_the_brake_works_and_nothing_else_of_a_stream() {
    on_its_own_cluster(no_controller(), async |fixture, webhook| {
        let group = "streaming.sneaksanddata.com";
        let anything = json!({"x-kubernetes-preserve-unknown-fields": true});
        fixture.apply(None, &definition_of(group, "TestStream", "test-streams", anything)).await;
        fixture.apply(None, &class("test-streams", group, "TestStream", "test-streams")).await;
        let ns = fixture.namespace("brake").await;
        let kind = streams_of(group, "v1", "TestStream", "test-streams");
        let streams = ns.objects(&kind);
        // Made while there was no webhook at all.
        let mut names = Vec::new();
        for (number, spec) in strange_specs().into_iter().enumerate() {
            let name = format!("strange-{number}");
            let object = DynamicObject::new(&name, &kind).data(json!({"spec": spec}));
            streams.create(&Default::default(), &object).await.unwrap();
            names.push(name);
        }
        let process = webhook.start().await;
        let template = json!({"name": "sqlserver-stream-template"});
        let backend = json!({"changeCapture": {"jobTemplateRef": template}});
        let flat = json!({"jobTemplateRef": template, "secretRef": {"name": "s"}});
        let of_layout =
            |version: &str| json!({"execution": {"layoutVersion": version, "streamingBackend": backend}, "other": 1});
        for (name, spec) in [("flat", flat), ("v1", of_layout("v1")), ("v2", of_layout("v2"))] {
            let object = DynamicObject::new(name, &kind).data(json!({"spec": spec}));
            streams.create(&Default::default(), &object).await.unwrap();
        }
        process.kill().await.unwrap();

        let merge = async |name: &str, patch: Value| {
            let merged = streams.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
            merged.map(|it| it.data).map_err(|error| error.to_string())
        };
        let suspend = |name: &str, suspended: Value| match name {
            "flat" => json!({"spec": {"suspended": suspended}}),
            _ => json!({"spec": {"execution": {"suspended": suspended}}}),
        };
        for name in ["flat", "v1", "v2"] {
            merge(name, suspend(name, json!(true))).await.unwrap();
            merge(name, json!({"metadata": {"labels": {"a": "b"}, "annotations": {"a": "b"}}})).await.unwrap();
            merge(name, json!({"metadata": {"finalizers": ["example.com/a"]}})).await.unwrap();
            merge(name, json!({"metadata": {"finalizers": null}})).await.unwrap();
            let status = json!({"status": {"phase": "Suspended"}});
            streams.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
            // Whatever makes something run, or run otherwise, is judged or isn't done.
            for patch in [
                suspend(name, json!(false)),
                json!({"spec": {"other": 2}}),
                json!({"metadata": {"labels": {"arcane/stream-class": "other"}}}),
                json!({"spec": {"other": 3, "suspended": true, "execution": {"suspended": true, "more": 1}}}),
            ] {
                let refused = merge(name, patch.clone()).await.unwrap_err();
                assert!(refused.contains("failed calling webhook"), "{name}: {patch}: {refused}");
            }
        }
        for name in &names {
            // Errors in a condition would refuse these.
            merge(name, json!({"metadata": {"labels": {"a": "b"}}})).await.unwrap();
            for patch in [json!({"spec": {"suspended": true}}), json!({"spec": {"execution": {"suspended": true}}})] {
                if let Err(refused) = merge(name, patch.clone()).await {
                    assert!(refused.contains("failed calling webhook"), "{name}: {patch}: {refused}");
                }
            }
        }
        // Deletions are only warned of.
        ns.templates().delete("sqlserver-stream-template", &DeleteParams::default()).await.unwrap();
        streams.delete("v2", &DeleteParams::default()).await.unwrap();

        let process = webhook.start().await;
        // The template has gone meanwhile; an old problem never blocks an unrelated change.
        merge("flat", suspend("flat", json!(false))).await.unwrap();
        for name in &names {
            for patch in [json!({"spec": {"suspended": true}}), json!({"spec": {"execution": {"suspended": true}}})] {
                if let Err(refused) = merge(name, patch.clone()).await {
                    assert!(refused.contains("is invalid") || refused.contains("denied"), "{name}: {patch}: {refused}");
                }
            }
        }
        WebhookAccess::end(process).await;
    });
}
