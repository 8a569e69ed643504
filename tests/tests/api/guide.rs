//! The users guide, command by command: all that needs no node, as a person types it.

use arcane_tests::fixture::{SOON, variable};
use arcane_tests::{Fixture, KubectlOutput, TestNamespace, eventually};
use kube::ResourceExt as _;

use crate::world::*;

/// A person in the directory of the guide's files.
struct Terminal<'a>(&'a Fixture);

impl Terminal<'_> {
    async fn says(&self, line: &str) -> KubectlOutput {
        self.0.shell("examples/guide", line).await
    }

    /// Types a line that must succeed.
    async fn types(&self, line: &str) -> String {
        let said = self.says(line).await;
        assert!(said.status.success(), "$ {line}\n{}{}", said.stdout, said.stderr);
        said.stdout
    }

    /// Types a line until what it prints is as the guide says.
    async fn sees(&self, line: &str, holds: impl Fn(&str) -> bool) -> String {
        eventually(SOON, &format!("such output of: {line}"), || async {
            let said = self.says(line).await;
            if said.status.success() && holds(&said.stdout) {
                Ok(said.stdout)
            } else {
                Err(format!("{}{}", said.stdout, said.stderr))
            }
        })
        .await
        .unwrap_or_else(|timeout| panic!("{timeout}"))
    }
}

/// The row of a table that begins with a name, by column.
fn cell(table: &str, name: &str, column: &str) -> Option<String> {
    let mut lines = table.lines();
    let head = lines.next()?;
    let from = head.find(column)?;
    let row = lines.find(|line| {
        line.split_whitespace().next().is_some_and(|first| first == name || first.ends_with(&format!("/{name}")))
    })?;
    Some(row.get(from..)?.split("  ").next()?.trim().to_owned())
}

#[test]
fn every_command_of_the_guide_that_needs_no_node_works() {
    on_a_cluster(async |ns| {
        let t = Terminal(ns.fixture());

        // Getting started.
        let crds = t.types("kubectl get crd | grep streaming").await;
        for name in ["streamclasses", "streamingjobtemplates", "backfillrequests"] {
            assert!(crds.contains(&format!("{name}.streaming.sneaksanddata.com")), "{crds}");
        }
        t.types("kubectl create namespace data-streaming").await;
        t.types(
            "kubectl apply -f stream-class.yaml -f sqlserver-stream-template.yaml -f sqlserver-backfill-template.yaml",
        )
        .await;

        // Creating your first stream.
        t.types(
            r#"kubectl create secret generic my-database-creds \
                 --namespace data-streaming \
                 --from-literal=connectionString="Server=myserver;Database=mydb;..." \
                 --from-literal=storageAccountKey="your-storage-key""#,
        )
        .await;
        // Watches while it is applied.
        let (jobs, _) = tokio::join!(
            t.says("timeout 12 kubectl get jobs -n data-streaming -w"),
            t.types("kubectl apply -f my-stream.yaml")
        );
        let streams = "kubectl get sqlserverchangetrackingstreams -n data-streaming";
        let is =
            |phase: &'static str| move |table: &str| cell(table, "orders-stream", "PHASE").as_deref() == Some(phase);
        t.sees(streams, is("Running")).await;
        let order: Vec<&str> = jobs.stdout.lines().filter_map(|line| line.split_whitespace().next()).collect();
        let backfill = order.iter().position(|name| *name == "orders-stream-backfill");
        let streaming = order.iter().position(|name| *name == "orders-stream");
        assert!(backfill.is_some() && backfill < streaming, "first a backfill, then the stream: {order:?}");

        // Viewing stream status.
        t.types("kubectl get sqlserverchangetrackingstream -n data-streaming").await;
        let described = t.types("kubectl describe sqlserverchangetrackingstream orders-stream -n data-streaming").await;
        for words in
            ["Phase:", "Running", "Source Table:", "Orders", "BackfillStarted", "BackfillCompleted", "StreamStarted"]
        {
            assert!(described.contains(words), "no {words:?} in {described}");
        }
        let phase = "-o jsonpath='{.status.phase}'";
        assert_eq!(t.types(&format!("{streams} orders-stream {phase}")).await, "Running");
        t.types("kubectl wait --for=condition=Ready --timeout=60s sqlserverchangetrackingstream/orders-stream -n data-streaming").await;

        // Suspending and resuming.
        t.types(
            r#"kubectl patch sqlserverchangetrackingstream orders-stream -n data-streaming \
                 --type merge \
                 -p '{"spec":{"suspended":true}}'"#,
        )
        .await;
        t.sees(streams, is("Suspended")).await;
        let gone = |table: &str| cell(table, "orders-stream", "STATUS").is_none();
        t.sees("kubectl get jobs -n data-streaming", gone).await;
        t.types(
            r#"kubectl patch sqlserverchangetrackingstream orders-stream -n data-streaming \
                 --type merge \
                 -p '{"spec":{"suspended":false}}'"#,
        )
        .await;
        t.sees(streams, is("Running")).await;
        // "Or edit the YAML".
        t.types("(cat my-stream.yaml; echo; echo '  suspended: true') | kubectl apply -f -").await;
        t.sees(streams, is("Suspended")).await;
        t.types("kubectl apply -f my-stream.yaml").await;
        t.sees(streams, is("Running")).await;

        // Backfilling data.
        t.types("kubectl apply -f backfill.yaml").await;
        let requests = "kubectl get backfillrequest -n data-streaming";
        let done = |table: &str| {
            let cell = |column| cell(table, "orders-backfill-jan-2026", column);
            cell("COMPLETED").as_deref() == Some("true") && cell("PHASE").as_deref() == Some("Completed")
        };
        let table = t.sees(requests, done).await;
        assert_eq!(cell(&table, "orders-backfill-jan-2026", "STREAM").as_deref(), Some("orders-stream"), "{table}");
        let jobs = "kubectl get jobs -l streamId=orders-stream -n data-streaming";
        let both = |table: &str| cell(table, "orders-stream", "STATUS").as_deref() == Some("Running");
        let table = t.sees(jobs, both).await;
        assert_eq!(cell(&table, "orders-stream-backfill", "STATUS").as_deref(), Some("Complete"), "{table}");
        t.sees(streams, is("Running")).await;

        // The core concepts' own examples.
        t.types("kubectl create secret generic database-credentials -n data-streaming --from-literal=connectionString=x --from-literal=storageAccountKey=y").await;
        t.types("kubectl apply -f my-database-stream.yaml").await;
        t.sees(streams, |table| cell(table, "my-database-stream", "PHASE").as_deref() == Some("Running")).await;
        t.types("kubectl apply -f backfill-2024-01.yaml").await;
        t.sees(requests, |table| cell(table, "backfill-2024-01", "PHASE").as_deref() == Some("Completed")).await;
        t.sees(streams, |table| cell(table, "my-database-stream", "PHASE").as_deref() == Some("Running")).await;
        let backfill = "kubectl get job my-database-stream-backfill -n data-streaming";
        t.sees(&format!("{backfill} -o jsonpath='{{.spec.ttlSecondsAfterFinished}}'"), |ttl| ttl == "86400").await;

        // Job templates: these have no image, which is said and does no harm.
        t.types("kubectl apply -f production-template.yaml -f dev-template.yaml").await;
        let templates = "kubectl get streamingjobtemplates -n data-streaming";
        for name in ["production-template", "dev-template"] {
            t.sees(templates, |table| cell(table, name, "VALID").as_deref() == Some("False")).await;
        }
        t.sees(templates, |table| cell(table, "sqlserver-stream-template", "VALID").as_deref() == Some("True")).await;

        // Deleting streams.
        t.types("kubectl delete sqlserverchangetrackingstream orders-stream -n data-streaming").await;
        let nothing = |table: &str| !table.contains("orders-stream");
        t.sees("kubectl get jobs,pods,backfillrequests,sqlserverchangetrackingstreams -n data-streaming", nothing)
            .await;
        t.types(&format!("{streams} my-database-stream")).await;

        // Namespace organization.
        t.types("kubectl create namespace data-streaming-sql-server").await;
        t.types("kubectl create namespace data-streaming-json").await;
        t.types("kubectl create namespace data-streaming-parquet").await;
        t.types("kubectl delete namespace --wait=false data-streaming data-streaming-sql-server data-streaming-json data-streaming-parquet").await;
    });
}

#[test]
fn health_endpoints_of_the_guide_and_of_older_charts_answer() {
    on_a_cluster(async |ns| {
        let (t, operator) = (Terminal(ns.fixture()), ns.fixture().operator());
        for path in ["healthz", "readyz", "startup", "health", "health/ready"] {
            let said = t
                .types(&format!("curl -s -w '%{{http_code}}' http://localhost:{}/{path}", operator.health_port()))
                .await;
            assert_eq!(said, "ok\n200", "{path}");
        }
        a_running_stream(ns, "orders").await;
        let metrics = t.types(&format!("curl -s --fail http://localhost:{}/metrics", operator.metrics_port())).await;
        assert!(metrics.contains("# TYPE arcane_") && metrics.contains("# HELP arcane_"), "{metrics}");
        assert!(metrics.trim_end().ends_with("# EOF"), "as OpenMetrics has it: {metrics}");
    });
}

#[test]
fn advanced_configuration_of_the_guide_reaches_the_job() {
    on_a_cluster(async |ns| {
        ns.apply(
            r#"
            apiVersion: streaming.sneaksanddata.com/v1
            kind: StreamingJobTemplate
            metadata: {name: advanced}
            spec:
              ttlSecondsAfterFinished: 86400  # 24 hours
              template:
                spec:
                  nodeSelector:
                    workload-type: data-streaming
                  containers:
                  - name: stream-processor
                    image: example.com/stream:1
                    resources:
                      limits:
                        memory: "4Gi"
                        cpu: "2000m"
                      requests:
                        memory: "2Gi"
                        cpu: "1000m"
                    env:
                    - name: LOG_LEVEL
                      value: "DEBUG"
                    - name: MAX_BATCH_SIZE
                      value: "1000"
                    - name: DB_PASSWORD
                      valueFrom:
                        secretKeyRef:
                          name: database-credentials
                          key: password
                    volumeMounts:
                    - name: credentials
                      mountPath: /etc/credentials
                      readOnly: true
                  volumes:
                  - name: credentials
                    secret:
                      secretName: database-credentials
            "#,
        )
        .await;
        let reference = serde_json::json!({"jobTemplateRef": {"name": "advanced"}});
        a_stream(ns, "orders", spec_with(reference)).await;
        let job = running(ns, "orders").await;
        assert_eq!((variable(&job, "LOG_LEVEL"), variable(&job, "MAX_BATCH_SIZE")), (Some("DEBUG"), Some("1000")));
        let pod = job.spec.as_ref().unwrap().template.spec.clone().unwrap();
        assert_eq!(pod.node_selector.unwrap()["workload-type"], "data-streaming");
        assert_eq!(
            pod.volumes.unwrap()[0].secret.as_ref().unwrap().secret_name.as_deref(),
            Some("database-credentials")
        );
        let container = &pod.containers[0];
        assert_eq!(container.volume_mounts.as_ref().unwrap()[0].mount_path, "/etc/credentials");
        assert_eq!(container.resources.as_ref().unwrap().limits.as_ref().unwrap()["memory"].0, "4Gi");
        let password = container.env.iter().flatten().find(|it| it.name == "DB_PASSWORD").unwrap();
        assert_eq!(password.value_from.as_ref().unwrap().secret_key_ref.as_ref().unwrap().key, "password");
        assert_eq!(job.annotations()["arcane/ttl-seconds-after-finished"], "86400");
    });
}

/// All field paths of a kind, as `kubectl explain --recursive` prints them, each with its own description asked for.
async fn explains_every_field(t: &Terminal<'_>, kind: &str, fields: &[&str]) {
    let whole = t.types(&format!("kubectl explain {kind}")).await;
    assert!(whole.contains("DESCRIPTION:") && !whole.contains("<empty>"), "{whole}");
    let recursive = t.types(&format!("kubectl explain {kind} --recursive")).await;
    for field in fields {
        let last = field.rsplit('.').next().unwrap();
        assert!(recursive.contains(&format!("{last}\t<")), "no {field} in {recursive}");
        let said = t.types(&format!("kubectl explain {kind}.{field}")).await;
        assert!(!said.contains("<empty>") && said.contains("DESCRIPTION:"), "{kind}.{field}: {said}");
    }
}

#[test]
fn kubectl_explains_every_field() {
    on_a_cluster(async |ns| {
        let t = Terminal(ns.fixture());
        let class = [
            "spec",
            "spec.apiGroupRef",
            "spec.apiVersion",
            "spec.kindRef",
            "spec.pluralName",
            "spec.secretRefs",
            "spec.missingReferences",
            "spec.initialBackfill",
            "spec.updateStrategy",
            "spec.updateStrategy.type",
            "spec.updateStrategy.rollingUpdate.maxUnavailable",
            "spec.streamSchema",
            "status",
            "status.phase",
            "status.conditions",
            "status.observedGeneration",
            "status.streams",
        ];
        let request = [
            "spec",
            "spec.streamClass",
            "spec.streamId",
            "spec.completed",
            "spec.payload",
            "status",
            "status.phase",
            "status.conditions",
            "status.conditions.reason",
            "status.startTime",
            "status.completionTime",
            "status.jobName",
            "status.streamUid",
        ];
        let template = ["spec", "status", "status.conditions", "status.observedGeneration"];
        tokio::join!(
            explains_every_field(&t, "streamclass", &class),
            explains_every_field(&t, "backfillrequest", &request),
            explains_every_field(&t, "streamingjobtemplate", &template),
        );
    });
}

async fn columns(ns: &TestNamespace<'_>, what: &str) -> Vec<String> {
    let table = ns.kubectl(&["get", what]).await;
    table.lines().next().unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

#[test]
fn tables_show_what_a_person_wants_to_know() {
    on_a_cluster(async |ns| {
        let t = Terminal(ns.fixture());
        a_running_stream(ns, "orders").await;
        assert_eq!(columns(ns, "sqlserverchangetrackingstreams").await, ["NAME", "PHASE", "READY", "REASON", "AGE"]);
        assert_eq!(columns(ns, "bfr").await, ["NAME", "STREAM", "PHASE", "COMPLETED", "READY", "REASON", "AGE"]);
        assert_eq!(
            columns(ns, "stc").await,
            ["NAME", "KIND", "PHASE", "READY", "REASON", "RUNNING", "FAILED", "UPDATE", "AGE"]
        );
        let of_templates = columns(ns, "sjt").await;
        assert!(
            of_templates.starts_with(&["NAME".into(), "VALID".into()]) && of_templates.ends_with(&["AGE".into()]),
            "{of_templates:?}"
        );
        let stream = ns.kubectl(&["get", "sqlserverchangetrackingstreams"]).await;
        assert_eq!(cell(&stream, "orders", "READY").as_deref(), Some("True"), "{stream}");
        let request = ns.kubectl(&["get", "bfr"]).await;
        assert!(request.contains("orders") && request.contains("Completed") && request.contains("true"), "{request}");
        assert!(!request.contains("<none>") && !request.contains("<unknown>"), "{request}");
        let classes =
            t.sees("kubectl get stc", |table| cell(table, "test-streams", "READY").as_deref() == Some("True")).await;
        assert_eq!(
            cell(&classes, "sqlserver-change-tracking-stream", "KIND").as_deref(),
            Some("SqlServerChangeTrackingStream")
        );

        // One category, and the selectors of the kubectl plugin.
        let all = ns.kubectl(&["get", "arcane", "-o", "name"]).await;
        for kind in ["backfillrequest.", "streamingjobtemplate.", "sqlserverchangetrackingstream.", "streamclass."] {
            assert!(all.contains(kind), "no {kind} in {all}");
        }
        a_request(ns, "waits", "nobody").await;
        let selected =
            async |selector: &str| ns.kubectl(&["get", "bfr", "-o", "name", "--field-selector", selector]).await;
        assert_eq!(selected("spec.completed=false").await, "backfillrequest.streaming.sneaksanddata.com/waits\n");
        assert_eq!(selected("spec.streamId=orders,spec.completed=true").await.lines().count(), 1);
    });
}
