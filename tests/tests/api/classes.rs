//! Contract §2 and §3.12: StreamClasses come, change and go.

use arcane_tests::fixture::{SOON, condition_of, streams_of, until};
use arcane_tests::{TestNamespace, eventually};
use kube::ResourceExt as _;
use kube::api::{ApiResource, DeleteParams, PostParams};
use serde_json::{Value, json};

use crate::world::*;

const GROUP: &str = "streaming.sneaksanddata.com";

/// A plugin of its own: class and plural are named by `name`, the kind is it in capitals.
struct Plugin {
    name: &'static str,
    kind: ApiResource,
}

impl Plugin {
    fn new(name: &'static str) -> Self {
        Self { name, kind: streams_of(GROUP, "v1", &name.to_uppercase(), name) }
    }

    async fn install_crd(&self, ns: &TestNamespace<'_>) {
        ns.fixture().apply(None, &plugin_crd(GROUP, &self.kind.kind, self.name)).await;
    }

    async fn install_class(&self, ns: &TestNamespace<'_>) {
        ns.fixture().apply(None, &class(self.name, GROUP, &self.kind.kind, self.name, json!({}))).await;
    }

    async fn class_says(&self, ns: &TestNamespace<'_>, phase: &str, reason: &str) -> Value {
        let holds = |it: &Value| it["status"]["phase"] == phase && condition_of(it, "Ready")["reason"] == reason;
        until(&classes(ns.fixture()), self.name, &format!("{phase} class"), holds).await
    }
}

#[test]
fn a_class_whose_crd_comes_later_works_when_it_comes() {
    on_a_cluster(async |ns| {
        let plugin = Plugin::new("laters");
        plugin.install_class(ns).await;
        let said = plugin.class_says(ns, "Pending", "CustomResourceDefinitionMissing").await;
        let message = condition_of(&said, "Ready")["message"].as_str().unwrap().to_owned();
        assert!(
            message.contains("laters.streaming.sneaksanddata.com") && message.contains("spec.pluralName"),
            "{message}"
        );
        plugin.install_crd(ns).await;
        plugin.class_says(ns, "Ready", "Ready").await;
        create(ns, &plugin.kind, "orders", spec()).await;
        running_of(ns, &plugin.kind, "orders").await;
    });
}

#[test]
fn jobs_of_a_deleted_class_run_on_and_are_looked_after_again_when_it_comes_back() {
    on_a_cluster(async |ns| {
        let plugin = Plugin::new("leavers");
        plugin.install_crd(ns).await;
        plugin.install_class(ns).await;
        create(ns, &plugin.kind, "orders", spec()).await;
        let job = running_of(ns, &plugin.kind, "orders").await;
        settled(ns).await;
        classes(ns.fixture()).delete(plugin.name, &DeleteParams::default()).await.unwrap();
        ns.merge(&ns.objects(&plugin.kind), "orders", json!({"spec": {"sourceTable": "Invoices"}})).await;
        nothing_loops(ns).await;
        let same = ns.jobs().get(&job.name_any()).await.unwrap();
        assert_eq!((same.uid(), same.metadata.deletion_timestamp), (job.uid(), None));

        plugin.install_class(ns).await;
        plugin.class_says(ns, "Ready", "Ready").await;
        // What was changed meanwhile is made up for.
        ns.gone(&job).await;
        let next = running_of(ns, &plugin.kind, "orders").await;
        assert_eq!(next.annotations()["arcane/stream-generation"], "2");
        assert_eq!(requests(ns).await.len(), 1, "no second backfill");
    });
}

#[test]
fn a_crd_that_is_removed_and_comes_back_is_noticed() {
    on_a_cluster(async |ns| {
        let plugin = Plugin::new("goners");
        plugin.install_crd(ns).await;
        plugin.install_class(ns).await;
        create(ns, &plugin.kind, "orders", spec()).await;
        running_of(ns, &plugin.kind, "orders").await;
        let crd = format!("{}.{GROUP}", plugin.name);
        ns.fixture().kubectl(&["delete", "crd", &crd, "--wait=true"]).await;
        plugin.class_says(ns, "Pending", "CustomResourceDefinitionMissing").await;
        plugin.install_crd(ns).await;
        plugin.class_says(ns, "Ready", "Ready").await;
        create(ns, &plugin.kind, "invoices", spec()).await;
        running_of(ns, &plugin.kind, "invoices").await;
    });
}

#[test]
fn a_class_counts_its_streams_by_phase() {
    on_a_cluster(async |ns| {
        let plugin = Plugin::new("counters");
        plugin.install_crd(ns).await;
        plugin.install_class(ns).await;
        for name in ["a", "b"] {
            create(ns, &plugin.kind, name, spec()).await;
        }
        create(ns, &plugin.kind, "c", spec_with(json!({"suspended": true}))).await;
        let counted = |it: &Value| it["status"]["streams"] == json!({"Running": 2, "Suspended": 1});
        until(&classes(ns.fixture()), plugin.name, "counting class", counted).await;
        ns.merge(&ns.objects(&plugin.kind), "a", json!({"spec": {"suspended": true}})).await;
        let counted = |it: &Value| it["status"]["streams"] == json!({"Running": 1, "Suspended": 2});
        until(&classes(ns.fixture()), plugin.name, "counting class", counted).await;
        ns.objects(&plugin.kind).delete("b", &DeleteParams::default()).await.unwrap();
        let counted = |it: &Value| it["status"]["streams"] == json!({"Suspended": 2});
        let said = until(&classes(ns.fixture()), plugin.name, "counting class", counted).await;
        assert_eq!(said["status"]["phase"], "Ready");
        assert_eq!(said["status"]["observedGeneration"], said["metadata"]["generation"]);
    });
}

#[test]
fn a_stream_is_of_the_class_that_its_label_names() {
    on_a_cluster(async |ns| {
        let plugin = Plugin::new("choosers");
        plugin.install_crd(ns).await;
        plugin.install_class(ns).await;
        let other = class(
            "choosers-without-backfill",
            GROUP,
            &plugin.kind.kind,
            plugin.name,
            json!({"initialBackfill": "Never"}),
        );
        ns.fixture().apply(None, &other).await;
        let label = json!({"arcane/stream-class": "choosers-without-backfill"});
        create_labelled(ns, &plugin.kind, "labelled", label, spec()).await;
        create(ns, &plugin.kind, "plain", spec()).await;
        let class_of =
            async |name: &str| running_of(ns, &plugin.kind, name).await.annotations()["arcane/stream-class"].clone();
        assert_eq!(class_of("labelled").await, "choosers-without-backfill");
        assert_eq!(class_of("plain").await, "choosers");
        assert_eq!(requests(ns).await.len(), 1);

        // A class that becomes the default later takes no stream that has a Job.
        let default = json!({"metadata": {"annotations": {"arcane/is-default-class": "true"}}});
        ns.merge(&classes(ns.fixture()), "choosers-without-backfill", default).await;
        settled(ns).await;
        create(ns, &plugin.kind, "late", spec()).await;
        assert_eq!(class_of("late").await, "choosers-without-backfill");
        assert_eq!(class_of("plain").await, "choosers");
    });
}

#[test]
fn a_class_written_as_v1beta1_works() {
    on_a_cluster(async |ns| {
        let plugin = Plugin::new("betas");
        plugin.install_crd(ns).await;
        let text = class(plugin.name, GROUP, &plugin.kind.kind, plugin.name, json!({}));
        ns.fixture()
            .apply(None, &text.replace("streaming.sneaksanddata.com/v1", "streaming.sneaksanddata.com/v1beta1"))
            .await;
        plugin.class_says(ns, "Ready", "Ready").await;
        create(ns, &plugin.kind, "orders", spec()).await;
        running_of(ns, &plugin.kind, "orders").await;
    });
}

#[test]
fn a_class_that_names_a_version_that_is_not_served_says_which_are() {
    on_a_cluster(async |ns| {
        let plugin = Plugin::new("versions");
        plugin.install_crd(ns).await;
        let of_v2 = class(plugin.name, GROUP, &plugin.kind.kind, plugin.name, json!({"apiVersion": "v2"}));
        ns.fixture().apply(None, &of_v2).await;
        let said = plugin.class_says(ns, "Pending", "VersionNotServed").await;
        let message = condition_of(&said, "Ready")["message"].as_str().unwrap().to_owned();
        assert!(message.contains("spec.apiVersion") && message.contains("serves v1"), "{message}");
        plugin.install_class(ns).await;
        plugin.class_says(ns, "Ready", "Ready").await;
    });
}

#[test]
fn a_slip_in_the_kind_gives_a_stream_no_second_job() {
    on_a_cluster(async |ns| {
        let plugin = Plugin::new("slips");
        plugin.install_crd(ns).await;
        plugin.install_class(ns).await;
        plugin.class_says(ns, "Ready", "Ready").await;
        create(ns, &plugin.kind, "orders", spec()).await;
        let job = running_of(ns, &plugin.kind, "orders").await;
        let slip = class("slips-twice", GROUP, &plugin.kind.kind.to_lowercase(), plugin.name, json!({}));
        ns.fixture().apply(None, &slip).await;
        let holds = |it: &Value| condition_of(it, "Stalled")["reason"] == "KindMismatch";
        let said = until(&classes(ns.fixture()), "slips-twice", "class with a slip", holds).await;
        let message = condition_of(&said, "Ready")["message"].as_str().unwrap().to_owned();
        assert!(message.contains("spec.kindRef") && message.contains(&plugin.kind.kind), "{message}");
        create(ns, &plugin.kind, "others", spec()).await;
        running_of(ns, &plugin.kind, "others").await;
        nothing_loops(ns).await;
        assert_eq!(running_of(ns, &plugin.kind, "orders").await.uid(), job.uid());
        // The backfill's, too.
        assert_eq!(ns.jobs_of("orders").await.len(), 2);
        classes(ns.fixture()).delete("slips-twice", &Default::default()).await.unwrap();
    });
}

#[test]
fn a_kind_of_our_own_is_no_stream() {
    on_a_cluster(async |ns| {
        for (name, kind, plural) in
            [("self-class", "StreamClass", "streamclasses"), ("self-request", "BackfillRequest", "backfillrequests")]
        {
            ns.fixture().apply(None, &class(name, GROUP, kind, plural, json!({}))).await;
            let holds = |it: &Value| condition_of(it, "Stalled")["reason"] == "NotAStream";
            let said = until(&classes(ns.fixture()), name, "class of a kind of ours", holds).await;
            assert!(condition_of(&said, "Ready")["message"].as_str().unwrap().contains("spec.kindRef"), "{said}");
            classes(ns.fixture()).delete(name, &Default::default()).await.unwrap();
        }
        // As the webhook says it, had it been there.
        let text = class("of-kubernetes", "gateway.networking.k8s.io", "Gateway", "gateways", json!({}));
        ns.fixture().apply(None, &text).await;
        let holds = |it: &Value| condition_of(it, "Stalled")["reason"] == "NotAStream";
        let said = until(&classes(ns.fixture()), "of-kubernetes", "class of a group of Kubernetes", holds).await;
        assert!(condition_of(&said, "Ready")["message"].as_str().unwrap().contains("spec.apiGroupRef"), "{said}");
        classes(ns.fixture()).delete("of-kubernetes", &Default::default()).await.unwrap();
    });
}

#[test]
fn a_plugin_whose_status_holds_no_phase_is_served_by_an_annotation() {
    on_a_cluster(async |ns| {
        let plugin = Plugin::new("poor-statuses");
        let mut crd: Value = serde_json::from_str(&plugin_crd(GROUP, &plugin.kind.kind, plugin.name)).unwrap();
        let conditions = json!({"type": "array", "items": {"type": "object", "properties": {
            "type": {"type": "string"}, "status": {"type": "string"}, "message": {"type": "string"},
        }}});
        crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"] =
            json!({"type": "object", "properties": {"conditions": conditions}});
        ns.fixture().apply(None, &crd.to_string()).await;
        plugin.install_class(ns).await;
        create(ns, &plugin.kind, "orders", spec()).await;
        let streams = ns.objects(&plugin.kind);
        // What has no field of its own is in the message: the reason, and the Job.
        let holds = |it: &Value| {
            let message = condition_of(it, "Ready")["message"].as_str().unwrap_or_default();
            let is_told = message.contains("Running") && message.contains("Job orders streams");
            it["metadata"]["annotations"]["arcane/phase"] == "Running" && is_told
        };
        let said = ns.until(&streams, "orders", "annotated stream", holds).await;
        assert_eq!(condition_of(&said, "Ready").get("reason"), None, "{said}");
        nothing_loops(ns).await;
        assert_eq!(requests(ns).await.len(), 1);
    });
}

#[test]
fn a_plugin_with_the_old_words_for_phases_gets_them() {
    on_a_cluster(async |ns| {
        let plugin = Plugin::new("old-words");
        let mut crd: Value = serde_json::from_str(&plugin_crd(GROUP, &plugin.kind.kind, plugin.name)).unwrap();
        let words = ["RESTARTING", "RUNNING", "RELOADING", "SUSPENDED", "FAILED", "STOPPED"];
        crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"] = json!({"type": "object", "properties": {
            "phase": {"type": "string", "enum": words},
            "conditions": {"type": "array", "items": {"type": "object", "properties": {
                "type": {"type": "string", "enum": ["WARNING", "ERROR", "INFO", "READY"]},
                "status": {"type": "string"}, "message": {"type": "string"},
            }}},
        }});
        ns.fixture().apply(None, &crd.to_string()).await;
        plugin.install_class(ns).await;
        create(ns, &plugin.kind, "orders", spec()).await;
        ns.phase_of(&plugin.kind, "orders", "RUNNING").await;
        ns.merge(&ns.objects(&plugin.kind), "orders", json!({"spec": {"suspended": true}})).await;
        ns.phase_of(&plugin.kind, "orders", "SUSPENDED").await;
        // One that no class looks after is told in the words of its kind, too.
        create_labelled(ns, &plugin.kind, "lost", json!({"arcane/stream-class": "nobody"}), spec()).await;
        let is_told = |it: &Value| condition_of(it, "READY")["message"].to_string().contains("StreamClassMissing");
        ns.until(&ns.objects(&plugin.kind), "lost", "stream of no class", is_told).await;
        nothing_loops(ns).await;
        let class = classes(ns.fixture()).get(plugin.name).await.unwrap();
        assert_eq!(condition_of(&serde_json::to_value(class).unwrap(), "Ready")["reason"], "Ready");
    });
}

/// What the status has no word for is in the annotation, and never in both.
#[test]
fn a_plugin_that_knows_some_phases_only() {
    on_a_cluster(async |ns| {
        let plugin = Plugin::new("few-words");
        let mut crd: Value = serde_json::from_str(&plugin_crd(GROUP, &plugin.kind.kind, plugin.name)).unwrap();
        crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"] =
            json!({"type": "object", "properties": {"phase": {"type": "string", "enum": ["RUNNING", "FAILED"]}}});
        ns.fixture().apply(None, &crd.to_string()).await;
        plugin.install_class(ns).await;
        create(ns, &plugin.kind, "orders", spec()).await;
        let streams = ns.objects(&plugin.kind);
        let phases =
            |it: &Value| (it["status"]["phase"].clone(), it["metadata"]["annotations"]["arcane/phase"].clone());
        let is = async |status: Value, annotation: Value| {
            let expected = (status, annotation);
            ns.until(&streams, "orders", &format!("phases {expected:?}"), |it| phases(it) == expected).await
        };
        is(json!("RUNNING"), Value::Null).await;
        ns.merge(&streams, "orders", json!({"spec": {"suspended": true}})).await;
        is(Value::Null, json!("Suspended")).await;
        ns.merge(&streams, "orders", json!({"spec": {"suspended": false}})).await;
        is(json!("RUNNING"), Value::Null).await;
        nothing_loops(ns).await;
    });
}

#[test]
fn a_status_that_the_plugin_refuses_is_told_on_its_class_and_loops_nowhere() {
    on_a_cluster(async |ns| {
        let plugin = Plugin::new("refusers");
        let mut crd: Value = serde_json::from_str(&plugin_crd(GROUP, &plugin.kind.kind, plugin.name)).unwrap();
        crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"] = json!({
            "type": "object", "required": ["ofThePlugin"], "x-kubernetes-preserve-unknown-fields": true,
            "properties": {"ofThePlugin": {"type": "string"}},
        });
        ns.fixture().apply(None, &crd.to_string()).await;
        plugin.install_class(ns).await;
        create(ns, &plugin.kind, "orders", spec()).await;
        let holds = |it: &Value| condition_of(it, "Ready")["reason"] == "StatusRefused";
        let said = until(&classes(ns.fixture()), plugin.name, "class with a refused status", holds).await;
        assert!(condition_of(&said, "Ready")["message"].as_str().unwrap().contains("ofThePlugin"), "{said}");
        eventually(SOON, "Job of the stream", || async {
            let jobs = ns.jobs_of("orders").await;
            if jobs.iter().any(|job| job.name_any() == "orders") { Ok(()) } else { Err(format!("{}", jobs.len())) }
        })
        .await
        .unwrap();
        nothing_loops(ns).await;
    });
}

#[test]
fn a_pace_that_makes_no_sense_is_refused() {
    on_a_cluster(async |ns| {
        let api = classes(ns.fixture());
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        let made = async |strategy: Value| {
            let text = class("paced", GROUP, "PACED", "paced", json!({"updateStrategy": strategy}));
            api.create(&dry_run, &serde_json::from_str(&text).unwrap()).await.map_err(|error| error.to_string())
        };
        let rolling = |max: Value| json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": max}});
        for right in [json!(1), json!(50), json!("1%"), json!("25%"), json!("100%")] {
            made(rolling(right)).await.unwrap();
        }
        let far = json!(99_999_999_999_i64);
        for wrong in
            [json!(0), json!(-1), far, json!("0%"), json!("101%"), json!("5"), json!("half"), json!(1.5), json!(true)]
        {
            let said = made(rolling(wrong.clone())).await.expect_err(&wrong.to_string());
            assert!(said.contains("spec.updateStrategy.rollingUpdate.maxUnavailable"), "{wrong}: {said}");
        }
        let said = made(json!({"type": "OnDelete", "rollingUpdate": {"maxUnavailable": 1}})).await.unwrap_err();
        assert!(said.contains("rollingUpdate may be set only where type is RollingUpdate"), "{said}");
        made(json!({"type": "Sometimes"})).await.unwrap_err();
    });
}
