//! A template that was created a moment ago is there, and one that wasn't isn't.
//!
//! The cluster is one without a controller, which would only look at the templates; the streams are dry runs, for which the
//! webhook does just what it does for others.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use arcane_tests::WebhookAccess;
use arcane_tests::fixture::any_object;
use futures::StreamExt as _;
use serde_json::{Value, json};

use crate::asked::{Answer, Asked, Way, object, with};
use crate::plugins::*;
use crate::world::*;

const AT_ONCE: usize = 32;

fn template(number: usize) -> Value {
    let job = json!({"template": {"spec": {"containers": [{"name": "main", "image": "plugin:1"}]}}});
    object("StreamingJobTemplate", &format!("template-{number}"), job)
}

fn stream_of(number: usize) -> Value {
    stream(&format!("stream-{number}"), json!({"jobTemplateRef": {"name": format!("template-{number}")}}))
}

/// Does something many times, some at once, and gives how often it held; prints the first that didn't.
async fn count(what: &str, times: usize, once: impl AsyncFn(usize) -> Result<(), Answer>) -> usize {
    let started = Instant::now();
    let held = AtomicUsize::new(0);
    futures::stream::iter(0..times)
        .for_each_concurrent(AT_ONCE, async |number| match once(number).await {
            Ok(()) => drop(held.fetch_add(1, Ordering::Relaxed)),
            Err(answer) => eprintln!("{what} {number}: {answer:?}"),
        })
        .await;
    let seconds = started.elapsed().as_secs_f64();
    eprintln!("{what}: {} of {times}, {:.0} a second", held.load(Ordering::Relaxed), times as f64 / seconds);
    held.into_inner()
}

fn allowed(answer: Answer) -> Result<(), Answer> {
    if answer.is_allowed() && answer.warnings.is_empty() { Ok(()) } else { Err(answer) }
}

#[test]
fn a_template_created_a_moment_ago_never_leads_to_a_refusal_and_a_missing_one_always_does() {
    on_its_own_cluster(no_controller(), async |fixture, access| {
        let process = access.start().await;
        let ns = fixture.namespace("racing").await;
        let asked = Asked::in_namespace(&ns);
        fixture.apply(None, &definition(GROUP, "TestStream", any_object())).await;
        asked.put(&class("test-streams", GROUP, "TestStream", json!({}))).await;
        refused_by_now(&asked, &stream_of(0)).await;

        let (templates, missing) = (times(2_000, 10_000), times(500, 1_000));
        let refused = count("streams of a missing template refused", missing, async |number| {
            let answer = asked.write(Way::Create, false, &stream_of(templates + number)).await;
            if answer.code == 422 && answer.fields() == ["spec.jobTemplateRef.name"] { Ok(()) } else { Err(answer) }
        });
        assert_eq!(refused.await, missing);

        let at_once = count("streams let in at once after their template", templates, async |number| {
            allowed(asked.write(Way::Create, false, &template(number)).await)?;
            allowed(asked.write(Way::Create, true, &stream_of(number)).await)
        });
        assert_eq!(at_once.await, templates);

        WebhookAccess::end(process).await;
    });
}

/// A plugin's chart is upgraded: its class allows more than before, and streams that need it come at once after it.
#[test]
fn what_a_class_allows_since_a_moment_ago_is_allowed() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        let of = |more: Value| class(ns.name(), GROUP, "TestStream", more);
        let orders = |table: usize| of_class(with(a_good_stream(), json!({"table": table})), ns.name());
        let mut refused = 0;
        for number in 0..200 {
            asked.put(&of(json!({"streamSchema": {"properties": {"table": {"const": number}}}}))).await;
            refused += usize::from(!asked.write(Way::Create, true, &orders(number)).await.is_allowed());
        }
        assert_eq!(refused, 0, "by a schema of before");
        refused_by_now(&asked, &orders(1_000)).await;
        for _ in 0..50 {
            asked.put(&of(json!({"secretRefs": ["key"], "missingReferences": "Deny"}))).await;
            refused_by_now(&asked, &orders(1)).await;
            asked.put(&of(json!({"missingReferences": "Warn"}))).await;
            let nowhere = with(orders(1), json!({"jobTemplateRef": {"name": "nowhere"}}));
            refused += usize::from(!asked.write(Way::Create, true, &nowhere).await.is_allowed());
        }
        assert_eq!(refused, 0, "by a word of before");
        asked.delete(&of(json!({}))).await;
    });
}
