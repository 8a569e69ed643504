//! helm and the others, and what the chart renders with the values that people choose.

use std::sync::LazyLock;

use arcane_tests::ChartTools;
use arcane_tests::chart_tools::ToolOutput;
use arcane_tests::fixture::repository;
use serde_json::Value;

static TOOLS: LazyLock<ChartTools> =
    LazyLock::new(|| ChartTools::obtain(&[]).unwrap_or_else(|error| panic!("{error}")));

/// The tools, built once.
pub fn tools() -> &'static ChartTools {
    &TOOLS
}

/// Where the chart is.
pub fn chart() -> String {
    repository().join("charts/arcane-operator").display().to_string()
}

/// The ways in which the chart is installed, by name: all that is rendered by a choice is rendered in one of them.
pub const WAYS: [(&str, &str); 7] = [
    ("default", ""),
    ("cert-manager", "certificates.mode=cert-manager"),
    (
        "issuer",
        "certificates.mode=cert-manager,certificates.certManager.issuerRef.name=company,certificates.certManager.renewBefore=24h",
    ),
    ("secret", "certificates.mode=existingSecret,certificates.existingSecret=mine"),
    ("some namespaces", "watchNamespaces={a,b}"),
    (
        "no webhook",
        "webhook.enabled=false,crds.install=false,leaderElection.enabled=false,rbac.clusterRoleBindings.create=false",
    ),
    (
        "everything",
        "monitoring.podMonitor.enabled=true,monitoring.serviceMonitor.enabled=true,monitoring.prometheusRule.enabled=true,\
         monitoring.dashboard.enabled=true,settings.telemetry.clusterName=prod,networkPolicy.egress.enabled=true,\
         networkPolicy.metricsFrom[0].podSelector.matchLabels.app=prometheus,webhook.failurePolicy=Ignore,\
         webhook.namespaceSelector.matchLabels.team=data,webhook.hostNetwork=true,additionalLabels.a=b,\
         additionalAnnotations.c=d,replicaCount=2,webhook.replicas=3,image.tag=9.9.9,priorityClassName=high,\
         extraEnv[0].name=A,extraEnv[0].value=b,extraVolumes[0].name=v,extraVolumes[0].emptyDir.medium=Memory,\
         extraVolumeMounts[0].name=v,extraVolumeMounts[0].mountPath=/v,imagePullSecrets[0].name=pull",
    ),
];

/// What `helm template` gives for these values (as `--set` takes them).
pub fn render_or_refuse(values: &str) -> ToolOutput {
    let chart = chart();
    let mut arguments = vec!["template", "arcane", &chart, "--namespace", "arcane"];
    if !values.is_empty() {
        arguments.extend(["--set", values]);
    }
    tools().run("helm", &arguments).unwrap_or_else(|error| panic!("{error}"))
}

/// The same, as text, where it must succeed.
pub fn render(values: &str) -> String {
    let rendered = render_or_refuse(values);
    assert!(rendered.success, "{values}: {}", rendered.stderr);
    rendered.stdout
}

/// The same, as objects.
pub fn objects(values: &str) -> Vec<Value> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(&render(values)).unwrap_or_else(|error| panic!("not YAML: {error}"));
    documents.into_iter().filter(Value::is_object).collect()
}

/// The object of this kind and name.
pub fn object<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found = objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("no {kind} {name} is rendered"))
}

/// The arguments of a Deployment's container.
pub fn arguments(deployment: &Value) -> Vec<String> {
    let arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"].as_array();
    let arguments = arguments.unwrap_or_else(|| panic!("no arguments in {deployment}"));
    arguments.iter().map(|argument| argument.as_str().unwrap_or_default().to_owned()).collect()
}
