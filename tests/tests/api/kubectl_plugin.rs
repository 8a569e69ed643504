//! `kubectl arcane`: the real plugin, run by the real kubectl, on streams that a controller looks after.

use std::path::Path;

use arcane_tests::fixture::{condition_of, sample_streams};
use arcane_tests::{KubectlOutput, PodBehaviour, PodKind, TestNamespace, kubectl_plugin_binary};
use k8s_openapi::api::rbac::v1::PolicyRule;
use serde_json::{Value, json};

use crate::world::*;

/// What the plugin did.
struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Ran {
    fn of(line: &str, output: KubectlOutput) -> Self {
        let KubectlOutput { status, stdout, stderr } = output;
        let code = status.code().unwrap_or(-1);
        eprintln!("$ {line}\n{stdout}{stderr}({code})");
        Self { code, stdout, stderr }
    }

    fn ends_with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}{}", self.stdout, self.stderr);
        self
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", self.stdout, self.stderr))
    }
}

/// Runs a line of `kubectl arcane` in the test's namespace.
async fn arcane(ns: &TestNamespace<'_>, arguments: &str) -> Ran {
    arcane_in(ns, ".", &format!("--namespace {} {arguments}", ns.name())).await
}

/// The same in a directory of the repository, or in one of one's own; where it looks is said by the arguments.
async fn arcane_in(ns: &TestNamespace<'_>, directory: &str, arguments: &str) -> Ran {
    let binary = kubectl_plugin_binary().unwrap_or_else(|error| panic!("{error}"));
    let directory_of_binary = binary.parent().unwrap_or(Path::new("/"));
    let line = format!("kubectl arcane {arguments}");
    let output = ns.fixture().shell(directory, &format!("PATH={}:$PATH; {line}", directory_of_binary.display())).await;
    Ran::of(&line, output)
}

async fn a_failed_stream(ns: &TestNamespace<'_>, name: &str) {
    ns.fixture().kubelet().set(ns.name(), name, PodKind::Streaming, PodBehaviour::exits(3, Default::default()));
    a_stream(ns, name, spec()).await;
    ns.phase(name, "Failed").await;
}

#[test]
fn status_tells_which_streams_are_in_trouble_and_why() {
    on_a_cluster(async |ns| {
        let nothing = arcane(ns, "status").await.ends_with(0);
        assert!(nothing.stderr.contains("-A looks into all namespaces"), "{}", nothing.stderr);
        a_stream(ns, "sleeps", spec_with(json!({"suspended": true}))).await;
        ns.phase("sleeps", "Suspended").await;
        a_failed_stream(ns, "fails").await;
        a_running_stream(ns, "runs").await;

        let table = arcane(ns, "status").await.ends_with(0).stdout;
        let row = |name: &str| {
            let row = table.lines().find(|line| line.split_whitespace().nth(1) == Some(name));
            row.unwrap_or_else(|| panic!("no row of {name}: {table}")).to_owned()
        };
        assert!(row("sleeps").contains("Suspended"), "{table}");
        assert!(row("fails").contains("Failed") && row("fails").contains("JobFailed"), "{table}");
        assert!(row("runs").contains("Running") && row("runs").contains("Completed"), "{table}");
        let everywhere = arcane_in(ns, ".", "status -A").await.ends_with(0).stdout;
        assert!(everywhere.starts_with("NAMESPACE") && everywhere.contains(ns.name()), "{everywhere}");

        let shown = arcane(ns, "status -o json").await.ends_with(0).json();
        let phases: Vec<String> = shown.as_array().unwrap().iter().map(|it| it["phase"].to_string()).collect();
        assert_eq!(phases, ["\"Failed\"", "\"Running\"", "\"Suspended\""]);
        let words = condition_of(&ns.phase("fails", "Failed").await, "Stalled")["message"].clone();
        assert_eq!(shown[0]["message"], words, "the same words as in the condition");

        let tree = arcane(ns, "status fails").await.ends_with(0).stdout;
        for part in ["class", "once", "initial-backfill", "exit code 3", "pod"] {
            assert!(tree.contains(part), "no {part}: {tree}");
        }
        let wrong = arcane(ns, "status nowhere").await.ends_with(1);
        assert!(wrong.stderr.contains("there is no stream nowhere in namespace"), "{}", wrong.stderr);
        assert!(arcane(ns, "status --class nowhere").await.ends_with(1).stderr.contains("there are: "));
    });
}

#[test]
fn suspend_and_resume_write_one_field_where_the_layout_has_it() {
    on_a_cluster(async |ns| {
        let job = a_running_stream(ns, "orders").await;
        let v2 = json!({"execution": {"layoutVersion": "v2", "streamingBackend": {
            "changeCapture": {"jobTemplateRef": {"name": "once"}}}}, "kept": {"by": ["others"]}});
        create_labelled(ns, &test_streams(), "nested", json!({"team": "a"}), v2.clone()).await;
        running_of(ns, &test_streams(), "nested").await;

        assert!(arcane(ns, "suspend").await.ends_with(2).stderr.contains("required"));
        let tried = arcane(ns, "suspend orders --dry-run").await.ends_with(0).stdout;
        assert!(tried.contains("suspended (dry run)"), "{tried}");
        assert!(arcane(ns, "suspend orders nowhere").await.ends_with(1).stderr.contains("no stream nowhere"));
        ns.phase("orders", "Running").await;

        arcane(ns, "suspend orders").await.ends_with(0);
        ns.gone(&job).await;
        let said = ns.phase("orders", "Suspended").await;
        assert_eq!(said["spec"]["suspended"], true);
        assert!(arcane(ns, "suspend orders").await.ends_with(0).stdout.contains("is suspended already"));

        arcane(ns, "suspend -l team=a").await.ends_with(0);
        let said = ns.phase_of(&test_streams(), "nested", "Suspended").await;
        let mut expected = v2;
        expected["execution"]["suspended"] = json!(true);
        assert_eq!(said["spec"], expected);

        let resumed = arcane(ns, "resume --class test-streams").await.ends_with(0).stdout;
        assert_eq!(resumed, "teststream/nested resumed\n");
        running_of(ns, &test_streams(), "nested").await;
        arcane(ns, "resume sqlserverchangetrackingstream/orders").await.ends_with(0);
        running(ns, "orders").await;
        assert_eq!(requests(ns).await.len(), 2, "nothing is backfilled again");
    });
}

#[test]
fn a_backfill_is_asked_for_and_waited_for() {
    on_a_cluster(async |ns| {
        a_running_stream(ns, "orders").await;
        let ran =
            arcane(ns, r#"backfill orders --name again --payload '{"from": "2026-01-01"}' --wait --timeout 2m"#).await;
        let ran = ran.ends_with(0);
        assert!(ran.stdout.contains("backfill again has succeeded"), "{}", ran.stdout);
        assert!(ran.stderr.contains("Running: "), "the way there is told: {}", ran.stderr);
        let request = request_phase(ns, "again", "Completed").await;
        assert_eq!(request["spec"]["payload"], json!({"from": "2026-01-01"}));
        assert_eq!(request["spec"]["streamClass"], "sqlserver-change-tracking-stream");
        running(ns, "orders").await;

        ns.fixture().kubelet().set(ns.name(), "orders", PodKind::Backfill, PodBehaviour::exits(4, Default::default()));
        let failed = arcane(ns, "backfill orders --wait").await.ends_with(1);
        assert!(failed.stderr.contains("has failed") && failed.stderr.contains("exit code 4"), "{}", failed.stderr);
        ns.fixture().kubelet().unset(ns.name(), "orders", PodKind::Backfill);

        let history = arcane(ns, "backfills orders -o json").await.ends_with(0).json();
        let phases: Vec<String> = history.as_array().unwrap().iter().map(|it| it["phase"].to_string()).collect();
        assert_eq!(phases, ["\"Failed\"", "\"Completed\"", "\"Completed\""], "the newest first: {history}");
        assert!(arcane(ns, "backfills orders").await.ends_with(0).stdout.contains("again"));

        ns.merge(&ns.streams(), "orders", json!({"spec": {"suspended": true}})).await;
        ns.phase("orders", "Suspended").await;
        let waits = arcane(ns, "backfill orders --name later --wait --timeout 1s").await.ends_with(1);
        assert!(waits.stderr.contains("has not ended within 1s"), "{}", waits.stderr);
        assert!(arcane(ns, "backfill orders --payload 1").await.ends_with(2).stderr.contains("must be a JSON object"));
        let tried = arcane(ns, "backfill orders --dry-run").await.ends_with(0);
        assert!(tried.stderr.contains("starts when it is resumed"), "{}", tried.stderr);
        assert_eq!(requests(ns).await.len(), 4, "a dry run creates nothing");
    });
}

/// A plugin that comes with its streams, in an order in which nothing finds what it refers to.
const SET: &str = r"
apiVersion: plugins.acme.io/v1
kind: AcmeStream
metadata: {name: orders}
spec: {jobTemplateRef: {name: of-the-set}}
---
apiVersion: streaming.sneaksanddata.com/v1
kind: BackfillRequest
metadata: {name: again}
spec: {streamClass: acme, streamId: orders}
---
apiVersion: streaming.sneaksanddata.com/v1
kind: StreamingJobTemplate
metadata: {name: of-the-set}
spec: {template: {spec: {containers: [{name: c, image: i}]}}}
---
apiVersion: streaming.sneaksanddata.com/v1
kind: StreamClass
metadata: {name: acme}
spec: {apiGroupRef: plugins.acme.io, apiVersion: v1, kindRef: AcmeStream, pluralName: acmestreams}
";

#[test]
fn a_set_is_judged_as_a_whole_before_it_is_applied() {
    on_a_cluster(async |ns| {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
        let place = directory.path().display().to_string();
        write("good.yaml", SET);
        arcane_in(ns, &place, "validate -f good.yaml --offline").await.ends_with(0);
        let good = arcane(ns, &format!("validate -f {place}")).await.ends_with(0).stdout;
        assert!(good.contains("4 objects judged: nothing wrong"), "{good}");

        // What the set doesn't hold is in the cluster.
        let stream = |template: &str| {
            format!(
                "apiVersion: streaming.sneaksanddata.com/v1\nkind: TestStream\nmetadata: {{name: s}}\n\
                 spec: {{jobTemplateRef: {{name: {template}}}}}\n"
            )
        };
        write("cluster.yaml", &stream("once"));
        arcane(ns, &format!("validate -f {place}/cluster.yaml")).await.ends_with(0);
        let alone = arcane_in(ns, &place, "validate -f cluster.yaml --offline -o json").await.ends_with(1).json();
        assert_eq!(alone["findings"][0]["field"], "kind", "{alone}");

        write("bad.yaml", &format!("{SET}---\n{}", stream("nowhere")));
        let bad = arcane(ns, &format!("validate -f {place}/bad.yaml")).await.ends_with(1).stdout;
        assert!(bad.contains("bad.yaml:22 (document 5)") && bad.contains("Not found: \"nowhere\""), "{bad}");
        for format in ["sarif", "junit"] {
            let report = arcane(ns, &format!("validate -f {place}/bad.yaml -o {format}")).await.ends_with(1).stdout;
            assert!(report.contains("nowhere"), "{report}");
        }

        // An old problem: the webhook would let it pass, but the file is wrong.
        create(ns, &test_streams(), "s", json!({"jobTemplateRef": {"name": "nowhere"}})).await;
        arcane(ns, &format!("validate -f {place}/bad.yaml")).await.ends_with(1);

        let lost = arcane(ns, &format!("validate -f {place}/good.yaml --kubeconfig /nowhere")).await.ends_with(2);
        assert!(lost.stderr.contains("/nowhere"), "{}", lost.stderr);
        arcane(ns, "validate -f /nowhere.yaml").await.ends_with(2);
        arcane_in(ns, &place, "validate -f - --offline < good.yaml").await.ends_with(0);
    });
}

#[test]
fn the_examples_are_good() {
    on_a_cluster(async |ns| {
        for plugin in ["sql-server", "parquet", "synapse-link", "rest-api", "json", "pull"] {
            arcane(ns, &format!("validate --offline -f examples/plugins/{plugin} -n data-streaming"))
                .await
                .ends_with(0);
        }
        arcane(ns, "validate --offline -f examples/guide").await.ends_with(0);
    });
}

#[test]
fn who_may_not_see_a_kind_is_told_so_and_sees_the_others() {
    on_a_cluster(async |ns| {
        a_stream(ns, "sleeps", spec_with(json!({"suspended": true}))).await;
        create(ns, &test_streams(), "unseen", spec_with(json!({"suspended": true}))).await;
        ns.phase("sleeps", "Suspended").await;
        let rule = |group: &str, resources: &[&str]| PolicyRule {
            api_groups: Some(vec![group.to_owned()]),
            resources: Some(resources.iter().map(|&it| it.to_owned()).collect()),
            verbs: vec!["get".to_owned(), "list".to_owned()],
            ..PolicyRule::default()
        };
        let plural = sample_streams().plural;
        let rules = vec![
            rule("streaming.sneaksanddata.com", &["streamclasses", &plural, "backfillrequests"]),
            rule("batch", &["jobs", "cronjobs"]),
        ];
        let cluster = ns.fixture().cluster();
        let access = cluster.service_account_access(ns.name(), "looks", rules).await.unwrap();
        let user = format!("--kubeconfig {}", access.kubeconfig().display());

        let table = arcane(ns, &format!("{user} status")).await.ends_with(2);
        assert!(table.stdout.contains("sleeps") && !table.stdout.contains("unseen"), "{}", table.stdout);
        assert!(
            table.stderr.contains("streams of test-streams.streaming.sneaksanddata.com aren't shown"),
            "{}",
            table.stderr
        );
        let unknown = arcane(ns, &format!("{user} suspend unseen")).await.ends_with(2);
        assert!(unknown.stderr.contains("not all could be seen"), "{}", unknown.stderr);
        let refused = arcane(ns, &format!("{user} resume sleeps")).await.ends_with(1);
        assert!(refused.stderr.contains("cannot patch"), "{}", refused.stderr);
        ns.phase("sleeps", "Suspended").await;
        // Nobody else's rights are used, and those of somebody who is impersonated are.
        let nobody = arcane(ns, "status --as nobody").await.ends_with(2);
        assert!(nobody.stderr.contains("\"nobody\" cannot list"), "{}", nobody.stderr);
    });
}

#[test]
fn a_failed_stream_is_explained_in_the_words_of_its_conditions_and_restarted() {
    on_a_cluster(async |ns| {
        a_failed_stream(ns, "orders").await;
        let failed = ns.jobs().get("orders").await.unwrap();
        let told = arcane(ns, "explain orders").await.ends_with(0).stdout;
        let said = ns.phase("orders", "Failed").await;
        let words = condition_of(&said, "Stalled")["message"].as_str().unwrap_or_default().to_owned();
        assert!(told.contains(&words) && words.contains("exit code 3"), "{told}");
        assert!(
            told.contains(&format!("kubectl arcane restart sqlserverchangetrackingstream/orders -n {}", ns.name()))
        );
        ns.fixture().kubelet().unset(ns.name(), "orders", PodKind::Streaming);
        arcane(ns, "restart orders").await.ends_with(0);
        running_anew(ns, "orders", &failed).await;
        assert!(arcane(ns, "explain orders").await.ends_with(0).stdout.contains("Nothing is wrong"));
    });
}

#[test]
fn a_job_is_compared_with_the_one_that_would_be_made_now() {
    on_a_cluster(async |ns| {
        a_running_stream(ns, "orders").await;
        let same = arcane(ns, "diff orders").await.ends_with(0);
        assert!(same.stdout.is_empty() && same.stderr.contains("is as it would be made now"), "{}", same.stderr);
        let image = json!({"spec": {"template": {"spec": {"containers": [
            {"name": "stream", "image": "example.com/stream:2"}]}}}});
        ns.merge(&ns.templates(), "once", image).await;
        let differs = arcane(ns, "diff orders").await.ends_with(1).stdout;
        assert!(differs.contains("- example.com/stream:1\n+ example.com/stream:2"), "{differs}");
        ns.merge(&ns.streams(), "orders", json!({"spec": {"suspended": true}})).await;
        ns.phase("orders", "Suspended").await;
        let alone = arcane(ns, "diff orders").await.ends_with(0);
        assert!(
            alone.stdout.contains("kind: Job") && alone.stderr.contains("the stream is suspended"),
            "{}",
            alone.stderr
        );
    });
}

#[test]
fn a_downtime_ends_for_those_that_it_began_for() {
    on_a_cluster(async |ns| {
        a_running_stream(ns, "orders").await;
        a_stream(ns, "sleeps", spec_with(json!({"suspended": true}))).await;
        ns.phase("sleeps", "Suspended").await;
        let began =
            arcane(ns, "downtime begin --name move --class sqlserver-change-tracking-stream").await.ends_with(0);
        assert!(began.stdout.contains("sleeps is suspended already"), "{}", began.stdout);
        let stopped = ns.phase("orders", "Suspended").await;
        assert_eq!(stopped["metadata"]["labels"]["arcane.sneaksanddata.com/downtime"], "move");
        let listed = arcane(ns, "downtime list").await.ends_with(0).stdout;
        assert!(listed.contains("orders") && !listed.contains("sleeps"), "{listed}");
        arcane(ns, "downtime end --name move").await.ends_with(0);
        running(ns, "orders").await;
        ns.phase("sleeps", "Suspended").await;
        assert!(arcane(ns, "downtime list").await.ends_with(0).stderr.contains("no stream is in a downtime"));
    });
}

#[test]
fn the_doctor_sees_what_is_missing() {
    on_a_cluster(async |ns| {
        let checks = arcane(ns, "doctor -o json").await.json();
        let state = |what: &str| {
            let found = checks.as_array().unwrap().iter().find(|it| it["what"].as_str().unwrap_or_default() == what);
            found.unwrap_or_else(|| panic!("nothing about {what}: {checks}"))["state"].clone()
        };
        assert_eq!(state("CustomResourceDefinition streamclasses.streaming.sneaksanddata.com"), "good");
        assert_eq!(state("StreamClass test-streams"), "good");
        // There is no webhook here, and the controller doesn't stand for election.
        assert_eq!(state("ValidatingWebhookConfiguration arcane-operator-webhook"), "bad");
        assert_eq!(state("Lease of the controller"), "bad");
        assert_eq!(state("your rights"), "good");
        arcane(ns, "doctor").await.ends_with(1);
    });
}
