//! What the stand-ins are made to stand for, so that an edit that loses it is noticed.

use std::collections::{BTreeMap, BTreeSet};

use arcane_common::api::well_known;
use arcane_common::template::{JobTemplate, TemplateShape};
use serde_json::{Value, json};

use crate::job::job_spec_of;
use crate::plugins::{DIRECTORIES, GROUP, LIVES, PARQUET_TABLE, Plugin, Policy, REST_KINDS};
use arcane_tests::manifests::{CHART, KINDS, Manifest, NAMESPACE, STREAMS, manifests};

fn all(file: &str) -> Vec<(&'static str, Manifest)> {
    let of = |directory: &'static str| {
        manifests(directory, file, NAMESPACE).into_iter().map(move |manifest| (directory, manifest))
    };
    DIRECTORIES.into_iter().flat_map(of).collect()
}

fn of_kind(file: &str, kind: &str) -> Vec<(&'static str, Value)> {
    let of_kind = all(file).into_iter().filter(|(_, manifest)| manifest.kind() == kind);
    of_kind.map(|(directory, manifest)| (directory, manifest.value)).collect()
}

/// Every kind: its directory, and the CRD's only version.
fn versions() -> BTreeMap<String, (&'static str, Value)> {
    let version = |crd: &Value| {
        let [version] = &crd["spec"]["versions"].as_array().unwrap()[..] else { panic!("{crd}") };
        version.clone()
    };
    let crds = of_kind(KINDS, "CustomResourceDefinition");
    crds.iter()
        .map(|(directory, crd)| (crd["spec"]["names"]["kind"].as_str().unwrap().to_owned(), (*directory, version(crd))))
        .collect()
}

fn schema(kind: &str, place: &str) -> Value {
    let (_, version) = &versions()[kind];
    let path: String = place.split('.').map(|field| format!("/properties/{field}")).collect();
    let schema = &version["schema"]["openAPIV3Schema"];
    schema.pointer(&path).unwrap_or_else(|| panic!("{kind} has no {place}")).clone()
}

fn has(kind: &str, place: &str) -> bool {
    let path: String = place.split('.').map(|field| format!("/properties/{field}")).collect();
    versions()[kind].1["schema"]["openAPIV3Schema"].pointer(&path).is_some()
}

fn fields_of(schema: &Value) -> BTreeSet<&str> {
    schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect()
}

fn plugins() -> impl Iterator<Item = &'static Plugin> {
    static MORE: [Plugin; 1] = [PARQUET_TABLE];
    static REST: [Plugin; 4] = REST_KINDS;
    LIVES.iter().chain(&MORE).chain(&REST[1..])
}

#[test]
fn each_kind_is_known_to_the_driver_and_the_other_way_round() {
    let driven: BTreeSet<&str> = plugins().map(|plugin| plugin.kind).collect();
    assert_eq!(versions().keys().map(String::as_str).collect::<BTreeSet<_>>(), driven);
    for plugin in plugins() {
        let (directory, version) = &versions()[plugin.kind];
        assert_eq!((*directory, version["name"].as_str()), (plugin.directory, Some(plugin.version)), "{}", plugin.kind);
        let streams: Vec<_> = of_kind(STREAMS, plugin.kind);
        assert_eq!(streams.len(), 1, "{}", plugin.kind);
        assert_eq!(streams[0].1["metadata"]["name"], plugin.stream);
        assert_eq!(streams[0].1["apiVersion"], format!("{GROUP}/{}", plugin.version));
        let class = of_kind(CHART, "StreamClass").into_iter().find(|(_, it)| it["metadata"]["name"] == plugin.class);
        let (_, class) = class.unwrap_or_else(|| panic!("no class {}", plugin.class));
        assert_eq!(class["spec"]["kindRef"], plugin.kind);
        assert_eq!(class["spec"]["pluralName"], plugin.plural);
        assert_eq!(class["spec"]["apiVersion"], plugin.version);
        assert_eq!(has(plugin.kind, "status.configurationHash"), !plugin.has_old_words, "{}", plugin.kind);
        let suspended = has(plugin.kind, "spec.suspended") || has(plugin.kind, "spec.execution.suspended");
        assert_eq!(suspended, plugin.can_be_suspended, "{}", plugin.kind);
        for fields in plugin.reference_fields() {
            assert!(has(plugin.kind, &format!("spec.{}", fields.join("."))), "{}: {fields:?}", plugin.kind);
        }
    }
}

#[test]
fn each_chart_brings_what_it_has_in_the_order_of_a_chart() {
    let order = ["ServiceAccount", "ClusterRole", "ClusterRoleBinding", "StreamClass", "StreamingJobTemplate"];
    for directory in DIRECTORIES {
        let kinds: Vec<_> = manifests(directory, CHART, NAMESPACE).iter().map(|it| it.kind().to_owned()).collect();
        let places: Vec<_> = kinds.iter().map(|kind| order.iter().position(|it| it == kind)).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{directory}: {kinds:?}");
        assert_eq!(
            places.iter().flatten().collect::<BTreeSet<_>>().len(),
            order.len(),
            "{directory} has each: {kinds:?}"
        );
        let of_user = manifests(directory, STREAMS, NAMESPACE);
        assert_eq!(of_user[0].kind(), "Secret", "{directory}");
    }
    let kinds =
        |directory| of_kind(KINDS, "CustomResourceDefinition").iter().filter(|(it, _)| *it == directory).count();
    assert_eq!(DIRECTORIES.map(kinds), [2, 2, 2, 4, 2, 1]);
    let classes = |directory| of_kind(CHART, "StreamClass").iter().filter(|(it, _)| *it == directory).count();
    assert_eq!(DIRECTORIES.map(classes), [2, 2, 2, 4, 2, 1]);
}

/// Our controller must have what it needs without them.
#[test]
fn no_chart_gives_rights_to_anybody_but_its_own_account() {
    for (directory, binding) in of_kind(CHART, "ClusterRoleBinding") {
        let subject = format!("arcane-stream-{directory}");
        assert_eq!(binding["subjects"], json!([{"kind": "ServiceAccount", "name": subject, "namespace": NAMESPACE}]));
        assert_eq!(binding["roleRef"]["name"], subject);
    }
    for (_, role) in of_kind(CHART, "ClusterRole") {
        assert_eq!(role["metadata"]["labels"].get(well_known::LABEL_AGGREGATE_TO_CONTROLLER), None);
        assert_eq!(role.get("aggregationRule"), None);
    }
}

#[test]
fn versions_plurals_and_secret_refs_differ() {
    let secret_refs: BTreeMap<String, Value> = of_kind(CHART, "StreamClass")
        .into_iter()
        .map(|(_, class)| (class["spec"]["kindRef"].as_str().unwrap().to_owned(), class["spec"]["secretRefs"].clone()))
        .collect();
    assert_eq!(secret_refs["SqlServerStream"], json!(["streamConfigurationSecretRef"]));
    assert_eq!(secret_refs["SqlServerStreamBeta"], json!(["streamConfigurationSecretRef"]));
    for plugin in &REST_KINDS {
        assert_eq!(secret_refs[plugin.kind], json!(["credentialSecretRef"]));
        assert_eq!(plugin.version, "v1beta1");
    }
    assert_eq!(secret_refs["JsonArchiveStream"], json!(["sourceSecretRef", "sinkSecretRef"]));
    for (directory, class) in of_kind(CHART, "StreamClass") {
        let version = if directory == "json" { well_known::VERSION_V1BETA1 } else { well_known::VERSION };
        assert_eq!(class["apiVersion"], format!("{GROUP}/{version}"), "{directory}");
    }
    let dashes: Vec<_> = plugins().filter(|it| it.plural.contains('-')).map(|it| it.directory).collect();
    assert_eq!(dashes, ["sql-server", "sql-server"]);
}

#[test]
fn an_execution_that_is_absent_is_suspended_with_templates_of_namespace_default() {
    let template = json!({
        "apiGroup": GROUP, "kind": "StreamingJobTemplate", "name": "standard-job-template", "namespace": "default",
    });
    let default = json!({
        "layoutVersion": "v1", "suspended": true, "backfillJobTemplateRef": template,
        "streamingBackend": {"changeCapture": {"jobTemplateRef": template}},
    });
    for kind in ["SqlServerStream", "SqlServerStreamBeta", "ParquetFilesStream", "ParquetTableStream"] {
        let execution = schema(kind, "spec.execution");
        assert_eq!((&execution["default"], &execution["nullable"]), (&default, &json!(true)), "{kind}");
    }
    assert_eq!(schema("SqlServerStreamBeta", "spec.execution.layoutVersion")["enum"], json!(["v1", "v2"]));
}

#[test]
fn references_to_templates_have_the_fields_of_each_plugin() {
    let expected = |plugin: &Plugin| match plugin.directory {
        "synapse-link" => ["apiGroup", "kind", "name"].as_slice(),
        "pull" => &["kind", "name", "namespace"],
        _ => &["apiGroup", "kind", "name", "namespace"],
    };
    for plugin in plugins() {
        for fields in plugin.reference_fields() {
            let reference = schema(plugin.kind, &format!("spec.{}", fields.join(".")));
            assert_eq!(
                fields_of(&reference),
                expected(plugin).iter().copied().collect(),
                "{}: {fields:?}",
                plugin.kind
            );
        }
    }
    for (field, name) in
        [("jobTemplateRef", "synapse-job-template"), ("backfillJobTemplateRef", "synapse-backfill-job-template")]
    {
        let default = &schema("SynapseLinkStream", &format!("spec.{field}"))["default"];
        assert_eq!(default, &json!({"apiGroup": GROUP, "kind": "StreamingJobTemplate", "name": name}));
        let stream = &of_kind(STREAMS, "SynapseLinkStream")[0].1;
        assert_eq!(stream["spec"].get(field), None, "left to the default");
    }
    assert_eq!(of_kind(STREAMS, "PullStream")[0].1["spec"]["execution"]["suspended"], true);
}

#[test]
fn secrets_may_be_null_and_have_keys_with_dots() {
    for field in ["sourceSecretRef", "sinkSecretRef"] {
        assert_eq!(schema("JsonArchiveStream", &format!("spec.{field}"))["nullable"], true);
    }
    let stream = &of_kind(STREAMS, "JsonArchiveStream")[0].1;
    assert_eq!(stream["spec"].get("sinkSecretRef"), Some(&Value::Null));
    let (_, secret) = &of_kind(STREAMS, "Secret").into_iter().find(|(directory, _)| *directory == "json").unwrap();
    assert!(secret["stringData"].as_object().unwrap().keys().all(|key| key.contains('.')), "{secret}");
}

#[test]
fn statuses_hold_what_those_of_each_plugin_hold() {
    let mut with_reason = 0;
    for (kind, (directory, version)) in versions() {
        let columns: Vec<_> =
            version["additionalPrinterColumns"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
        assert_eq!(columns, ["Source", "Sink", "Refresh interval", "Phase"], "{kind}");
        assert_eq!(version["subresources"], json!({"status": {}}), "{kind}");
        let phase = schema(&kind, "status.phase");
        let status = schema(&kind, "status");
        let condition = &status["properties"]["conditions"]["items"];
        assert_eq!(condition["required"], json!(["type", "status"]), "{kind}");
        assert_eq!(condition["properties"]["status"]["enum"], json!(["True", "False"]), "{kind}");
        let (mut fields, mut of_status) = (fields_of(condition), fields_of(&status));
        for field in ["type", "status", "message", "phase"] {
            assert!(fields.remove(field), "{kind}: {field}");
        }
        assert!(fields.iter().all(|field| ["reason", "lastTransitionTime"].contains(field)), "{kind}: {fields:?}");
        with_reason += usize::from(fields.contains("reason"));
        if directory == "sql-server" {
            assert!(fields.is_empty(), "pruned to message, phase, type and status");
        }
        let types = &condition["properties"]["type"]["enum"];
        if directory == "json" {
            assert_eq!(phase["enum"], json!(["RESTARTING", "RUNNING", "RELOADING", "SUSPENDED", "FAILED"]), "{kind}");
            assert_eq!(types, &json!(["WARNING", "ERROR", "INFO", "READY"]), "{kind}");
        } else {
            assert_eq!((&phase, types), (&json!({"type": "string"}), &Value::Null), "{kind}");
            assert!(of_status.remove("configurationHash"), "{kind}");
        }
        assert_eq!(of_status, BTreeSet::from(["conditions", "phase"]), "{kind}");
    }
    assert!(with_reason > 0 && with_reason < versions().len(), "some keep the reason of a condition");
}

#[test]
fn templates_are_written_in_the_way_of_each_plugin() {
    for (directory, template) in of_kind(CHART, "StreamingJobTemplate") {
        let name = &template["metadata"]["name"];
        let (shape, job_spec) = job_spec_of(&template);
        let plugin = LIVES.iter().find(|plugin| plugin.directory == directory).unwrap();
        assert_eq!(JobTemplate::judge(&template["spec"]).unwrap().shape, shape, "{name}");
        assert_eq!(shape, plugin.shape, "{name}");
        assert_eq!(job_spec["ttlSecondsAfterFinished"].to_string(), plugin.ttl, "{name}");
        assert_eq!(job_spec["backoffLimit"], 3, "{name}");
        assert!(template["spec"]["metadata"]["labels"]["app.kubernetes.io/name"].is_string(), "{name}");
        let ignored = json!({"rules": [
            {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [2]}},
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        ]});
        let [of_job, beside] = [job_spec.get("podFailurePolicy"), template["spec"]["template"].get("podFailurePolicy")];
        let expected = match plugin.policy {
            Policy::Kept => (Some(&ignored), None),
            Policy::Misplaced => (None, Some(&ignored)),
            Policy::Absent => (None, None),
        };
        assert_eq!((of_job, beside), expected, "{name}");
        if shape == TemplateShape::Legacy {
            assert_eq!(template["spec"]["template"]["kind"], "job", "{name}");
        }
        its_containers_are_restricted(&job_spec["template"]["spec"]);
    }
}

fn its_containers_are_restricted(pod: &Value) {
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    for container in pod["containers"].as_array().unwrap() {
        let context = &container["securityContext"];
        assert_eq!(context["capabilities"], json!({"drop": ["ALL"]}));
        assert_eq!(context["readOnlyRootFilesystem"], true);
        assert_eq!(context["allowPrivilegeEscalation"], false);
    }
}

#[test]
fn two_kinds_of_one_chart_have_a_stream_of_the_same_name() {
    for directory in ["parquet", "rest-api"] {
        let streams = of_kind_but_secrets(directory);
        assert!(streams.len() > 1 && streams.windows(2).all(|two| two[0] == two[1]), "{streams:?}");
    }
}

fn of_kind_but_secrets(directory: &str) -> Vec<Value> {
    let all = manifests(directory, STREAMS, NAMESPACE);
    all.iter().filter(|it| it.kind() != "Secret").map(|it| it.value["metadata"]["name"].clone()).collect()
}
