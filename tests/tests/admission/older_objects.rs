//! Objects that are older than the webhook: nobody has judged them. And what the installation says of missing references.

use arcane_tests::fixture::any_object;
use arcane_tests::{FixtureOptions, WebhookAccess};
use serde_json::{Value, json};

use crate::asked::{Asked, object, of_group, with};
use crate::plugins::*;
use crate::world::*;

async fn lets_metadata_change(asked: &Asked, object: &Value) {
    for metadata in [json!({"labels": {"a": "b"}}), json!({"annotations": {"a": "b"}}), json!({"finalizers": ["a/b"]})]
    {
        let mut changed = object.clone();
        changed["metadata"].as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
        asked.lets_it_become(&changed).await;
    }
}

#[test]
fn what_is_older_than_the_webhook_can_be_changed_but_not_made_worse() {
    on_its_own_cluster(FixtureOptions::default(), async |fixture, access| {
        let ns = fixture.namespace("older").await;
        let asked = Asked::in_namespace(&ns);
        fixture.apply(None, &definition(GROUP, "TestStream", any_object())).await;
        asked.put(&class("test-streams", GROUP, "TestStream", json!({}))).await;

        let template = object(
            "StreamingJobTemplate",
            "t",
            json!({"backoffLimit": "3", "template": {"spec": {
            "restartPolicy": "Always", "containers": [{"name": "main", "image": "a"}]}}}),
        );
        let old_class =
            class("old", "apps.k8s.io", "Old", json!({"streamSchema": {"$ref": "https://example.com/schema"}}));
        let backfill = object(
            "BackfillRequest",
            "b",
            json!({"streamClass": "nowhere", "streamId": "nobody",
            "payload": {"a": "x".repeat(140_000)}}),
        );
        let nameless = stream("nameless", json!({"jobTemplateRef": {"name": ""}, "suspended": false, "table": "a"}));
        let lost = stream("lost", json!({"jobTemplateRef": {"name": "nowhere"}, "suspended": false, "table": "a"}));
        let long =
            stream(&"n".repeat(64), json!({"jobTemplateRef": {"name": TEMPLATE}, "suspended": true, "table": "a"}));
        for object in [&template, &old_class, &backfill, &nameless, &lost, &long] {
            asked.put(object).await;
        }
        let mut options = access.options(access.port, "webhook.log");
        options.arguments.push("--missing-references=Warn".to_owned());
        let process = access.start_with(options).await;
        refused_by_now(&asked, &stream("another", nameless["spec"].clone())).await;

        for object in [&template, &old_class, &backfill, &nameless, &lost, &long] {
            lets_metadata_change(&asked, object).await;
        }
        for object in [&nameless, &lost, &long] {
            asked.lets_it_become(&with(object.clone(), json!({"table": "b"}))).await;
        }
        for object in [&nameless, &lost] {
            asked.lets_it_become(&with(object.clone(), json!({"suspended": true}))).await;
        }
        asked.does_not_let_it_become(&with(nameless.clone(), json!({"suspended": "no"})), &["spec.suspended"]).await;

        let other_image = |limit: &str| {
            with(
                template.clone(),
                json!({"backoffLimit": limit, "template": {"spec": {
                "restartPolicy": "Always", "containers": [{"name": "main", "image": "b"}]}}}),
            )
        };
        asked.lets_it_become(&other_image("3")).await;
        asked.does_not_let_it_become(&other_image("4"), &["spec.backoffLimit"]).await;

        asked.lets_it_become(&with(old_class.clone(), json!({"initialBackfill": "Never"}))).await;
        let worse = with(old_class.clone(), json!({"streamSchema": {"$ref": "https://example.com/another"}}));
        asked.does_not_let_it_become(&worse, &["spec.streamSchema.$ref"]).await;
        let of_another_group = with(old_class.clone(), json!({"apiGroupRef": "batch.k8s.io"}));
        asked.does_not_let_it_become(&of_another_group, &["spec.apiGroupRef"]).await;

        asked.lets_it_become(&with(backfill.clone(), json!({"completed": true}))).await;

        // What the installation says counts where neither class nor namespace says anything.
        let nowhere = || stream("nowhere", lost["spec"].clone());
        asked.warns_of_new(&nowhere(), &["spec.jobTemplateRef.name: Not found"]).await;
        fixture.kubectl(&["label", "namespace", ns.name(), "arcane/missing-references=Deny"]).await;
        asked.refuses_new(&nowhere(), &["spec.jobTemplateRef.name"]).await;
        let lone = of_group(GROUP, "StreamingJobTemplate", "lone", template["spec"].clone());
        asked.refuses_new(&lone, &["spec.template.spec.restartPolicy", "spec.backoffLimit"]).await;

        WebhookAccess::end(process).await;
    });
}
