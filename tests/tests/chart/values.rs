//! The values, their schema, and what the chart says of them.

use std::collections::BTreeSet;

use arcane_tests::chart_readme;
use arcane_tests::fixture::repository_file;
use serde_json::Value;

use crate::world::*;

/// Values that make no sense, and what is said of them.
const REFUSED: [(&str, &str); 25] = [
    ("nonsense=1", "additional properties 'nonsense' not allowed"),
    ("webhook.nonsense=1", "at '/webhook': additional properties 'nonsense' not allowed"),
    ("settings.probes.nonsense=1", "at '/settings/probes': additional properties"),
    ("image.repository=", "at '/image/repository': minLength"),
    ("image.pullPolicy=Sometimes", "at '/image/pullPolicy'"),
    ("image.digest=abc", "at '/image/digest'"),
    ("imagePullSecrets={pull}", "at '/imagePullSecrets/0': got string, want object"),
    ("replicaCount=two", "at '/replicaCount': got string, want integer"),
    ("replicaCount=2,leaderElection.enabled=false", "more than one controller needs leaderElection.enabled"),
    ("webhook.replicas=-1", "at '/webhook/replicas': minimum"),
    ("webhook.failurePolicy=fail", "at '/webhook/failurePolicy': value must be one of 'Fail', 'Ignore'"),
    ("webhook.missingReferences=Maybe", "at '/webhook/missingReferences'"),
    ("webhook.namespaceSelector.matchLabel.a=b", "at '/webhook/namespaceSelector'"),
    ("certificates.mode=none", "at '/certificates/mode'"),
    (
        "certificates.mode=existingSecret",
        "certificates.existingSecret: certificates.mode existingSecret needs the name of a Secret",
    ),
    ("certificates.existingSecret=mine", "set certificates.mode to existingSecret, or leave this empty"),
    ("certificates.self.caLifetime=long", "at '/certificates/self/caLifetime'"),
    ("settings.telemetry.logLevel=loud", "at '/settings/telemetry/logLevel'"),
    ("settings.probes.port=70000", "at '/settings/probes/port'"),
    ("settings.probes.port=9090", "settings.telemetry.metricsPort: port 9090 is that of settings.probes.port"),
    ("webhook.port=8888", "settings.probes.port: port 8888 is that of webhook.port"),
    ("webhook.replicas=0", "set webhook.replicas to 1 or more, or webhook.failurePolicy to Ignore"),
    ("watchNamespaces={A}", "watchNamespaces[0]: \"A\" is no name of a namespace"),
    ("watchNamespaces={a,b,a}", "watchNamespaces[2]: \"a\" is there twice"),
    ("watchNamespaces=team-a", "watchNamespaces: \"team-a\" is no list; write [team-a, team-b]"),
];

#[test]
fn values_that_make_no_sense_are_refused_with_their_path() {
    for (values, said) in REFUSED {
        let rendered = render_or_refuse(values);
        assert!(!rendered.success, "{values} is taken");
        assert!(rendered.stderr.contains(said), "{values}: {}", rendered.stderr);
    }
}

/// All names that values files of the older operator's chart may have.
const OLDER: &str = r#"
image: {repository: registry.example.com/operator, tag: v1.2.3, pullPolicy: Always}
imagePullSecrets: [{name: pull}]
nameOverride: arcane
fullnameOverride: arcane
serviceAccount: {create: true, annotations: {a: b}, name: operator}
rbac:
  clusterRole:
    jobEditor: &role {create: true, nameOverride: "", additionalLabels: {a: b}, additionalAnnotations: {a: b}}
    jobViewer: *role
    jobTemplateEditor: *role
    jobTemplateViewer: *role
    streamClassEditor: *role
    streamClassViewer: *role
    backfillRequestEditor: *role
    backfillRequestViewer: *role
  clusterRoleBindings: {create: true}
additionalLabels: {a: b}
additionalAnnotations: {a: b}
extraEnv: [{name: A, value: b}]
extraEnvFrom: [{secretRef: {name: c}}]
extraVolumes: [{name: d, emptyDir: {}}]
extraVolumeMounts: [{name: d, mountPath: /d}]
resources: {limits: {cpu: 1, memory: 1Gi}}
tolerations: [{operator: Exists}]
affinity: {}
podSecurityContext: {}
containerSecurityContext: {}
settings:
  probes: {port: 8888, listenAddrOverride: ":8888"}
  telemetry: {logLevel: INFO, clusterName: prod, metricsPort: 9090, metricsBindAddressOverride: ":9090"}
"#;

#[test]
fn a_values_file_of_the_older_operators_chart_is_taken() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("older-values.yaml");
    std::fs::write(&file, OLDER).unwrap();
    let arguments = ["template", "arcane", &chart(), "--namespace", "arcane", "--values", &file.display().to_string()];
    let said = tools().run("helm", &arguments).unwrap();
    assert!(said.success, "{}", said.stderr);
    assert!(said.stdout.contains("image: registry.example.com/operator:v1.2.3"));
    assert!(said.stdout.contains("serviceAccountName: operator\n"));
    assert!(said.stdout.contains("- --log=info,kube=warn"));
}

fn paths(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value.as_object().filter(|fields| !fields.is_empty()) {
        None => {
            found.insert(path.to_owned());
        }
        Some(fields) => {
            for (name, value) in fields {
                paths(value, &if path.is_empty() { name.clone() } else { format!("{path}.{name}") }, found);
            }
        }
    }
}

/// The leaves of the schema, as paths of values.
fn leaves(schema: &Value, of: &Value, path: &str, found: &mut BTreeSet<String>) {
    let of = match of["$ref"].as_str() {
        Some(reference) => schema.pointer(reference.trim_start_matches('#')).unwrap(),
        None => of,
    };
    match of["properties"].as_object() {
        None => {
            found.insert(path.to_owned());
        }
        Some(properties) => {
            for (name, of) in properties {
                leaves(schema, of, &if path.is_empty() { name.clone() } else { format!("{path}.{name}") }, found);
            }
        }
    }
}

#[test]
fn what_the_schema_takes_stands_in_the_values_file_and_the_other_way_round() {
    let values: Value = serde_saphyr::from_str(&repository_file("charts/arcane-operator/values.yaml")).unwrap();
    let schema: Value = serde_json::from_str(&repository_file("charts/arcane-operator/values.schema.json")).unwrap();
    let (mut documented, mut taken) = (BTreeSet::new(), BTreeSet::new());
    paths(&values, "", &mut documented);
    leaves(&schema, &schema, "", &mut taken);
    // Below these a person writes what Kubernetes knows.
    let free = ["podSecurityContext", "containerSecurityContext", "resources", "labels", "namespaceSelector"];
    let trimmed = |path: &String| {
        let mut kept = Vec::new();
        for part in path.split('.') {
            kept.push(part);
            if free.contains(&part) {
                break;
            }
        }
        kept.join(".")
    };
    let documented: BTreeSet<String> = documented.iter().map(trimmed).collect();
    // helm's own; and times of probes, of which the values file says only what differs from Kubernetes' defaults.
    let is_told_elsewhere = |path: &String| path == "global" || path.starts_with("settings.probes.");
    let taken: BTreeSet<String> = taken.iter().map(trimmed).filter(|path| !is_told_elsewhere(path)).collect();
    let documented: BTreeSet<String> = documented.into_iter().filter(|path| !is_told_elsewhere(path)).collect();
    assert_eq!(documented, taken);
}

#[test]
fn the_readme_of_the_chart_lists_the_values_as_they_are() {
    let readme = repository_file("charts/arcane-operator/README.md");
    let table = chart_readme::table(&repository_file("charts/arcane-operator/values.yaml")).unwrap();
    assert_eq!(readme, chart_readme::with_table(&readme, &table).unwrap(), "not as it is made: run `make generate`");
}

#[test]
fn the_chart_has_the_version_of_what_it_runs() {
    let chart: Value = serde_saphyr::from_str(&repository_file("charts/arcane-operator/Chart.yaml")).unwrap();
    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
}
