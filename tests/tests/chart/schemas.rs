//! What is rendered fits the schemas of the API server that the tests run on, and those of cert-manager and the Prometheus
//! operator.

use std::collections::BTreeSet;
use std::path::Path;

use arcane_tests::fixture::SOON;
use arcane_tests::{ControlPlane, ControlPlaneOptions, eventually};
use serde_json::{Map, Value, json};

use crate::world::*;

#[tokio::test(flavor = "multi_thread")]
async fn everything_fits_the_api_servers_own_schemas_and_is_taken_by_it() {
    let plane = ControlPlane::start(ControlPlaneOptions::default()).await.unwrap_or_else(|error| panic!("{error}"));
    let files = tempfile::tempdir().unwrap();
    let directory = files.path().join("schemas");
    let rendered: BTreeSet<String> = WAYS
        .iter()
        .flat_map(|(_, values)| objects(values))
        .map(|object| object["kind"].as_str().unwrap_or_default().to_owned())
        .collect();
    install_definitions_of_others(&plane, &rendered).await;
    write_schemas(&plane, &directory, &rendered).await;
    plane.kubectl(&["create", "namespace", "arcane"]).await.unwrap();
    for namespace in ["a", "b"] {
        plane.kubectl(&["create", "namespace", namespace]).await.unwrap();
    }
    for (way, values) in WAYS {
        let text = render(values);
        let fits = conforms(&directory, &text);
        assert!(fits.0, "{way}: {}", fits.1);
        // Beyond the schemas there is what only the API server checks: names, selectors, quantities.
        let items = objects(values);
        let file = files.path().join(format!("{}.json", way.replace(' ', "-")));
        std::fs::write(&file, json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()).unwrap();
        let file = file.display().to_string();
        let said = plane.kubectl(&["apply", "--dry-run=server", "--validate=strict", "-f", &file]).await.unwrap();
        assert!(said.status.success(), "{way}: {}", said.stderr);
        assert!(!said.stderr.contains("Warning"), "{way}: {}", said.stderr);
    }
    // A field that nobody knows is seen, also in objects of others.
    let everything = render(WAYS[WAYS.len() - 1].1) + &render(WAYS[1].1);
    for (right, wrong) in [
        ("revisionHistoryLimit:", "revisionHistoryLimits:"),
        ("podMetricsEndpoints:", "podMetricsEndpoint:"),
        ("scrapeTimeout:", "scrapeTimeouts:"),
        ("alert:", "alarm:"),
        ("issuerRef:", "issuer:"),
    ] {
        let fits = conforms(&directory, &everything.replace(right, wrong));
        assert!(!fits.0 && fits.1.contains(wrong.trim_end_matches(':')), "{wrong} {}", fits.1);
    }
    plane.stop().await;
}

fn conforms(schemas: &Path, text: &str) -> (bool, String) {
    let location = format!("{}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json", schemas.display());
    let arguments = ["-strict", "-summary", "-schema-location", &location, "-"];
    let said = tools().feed("kubeconform", &arguments, text).unwrap_or_else(|error| panic!("{error}"));
    (said.success, said.stdout + &said.stderr)
}

/// Installs cert-manager's and the Prometheus operator's definitions of these kinds, and waits until the API server tells their
/// schemas.
async fn install_definitions_of_others(plane: &ControlPlane, kinds: &BTreeSet<String>) {
    let mut paths = BTreeSet::new();
    for name in ["cert-manager", "prometheus-operator"] {
        for file in std::fs::read_dir(tools().definitions(name).unwrap()).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "yaml") {
                continue;
            }
            let definition: Value = serde_saphyr::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            let spec = &definition["spec"];
            if !spec["names"]["kind"].as_str().is_some_and(|kind| kinds.contains(kind)) {
                continue;
            }
            let said = plane.kubectl(&["apply", "--server-side", "-f", &path.display().to_string()]).await.unwrap();
            assert!(said.status.success(), "{}", said.stderr);
            for version in spec["versions"].as_array().unwrap() {
                let (group, version) = (spec["group"].as_str().unwrap(), version["name"].as_str().unwrap());
                paths.insert((format!("/openapi/v3/apis/{group}/{version}"), spec["names"]["kind"].to_string()));
            }
        }
    }
    assert_eq!(paths.len(), 5, "the kinds of others that we render: {paths:?}");
    for (path, kind) in paths {
        eventually(SOON, &format!("schema of {kind}"), || async {
            let said = plane.kubectl(&["get", "--raw", &path]).await.map_err(|error| error.to_string())?;
            if said.stdout.contains(&format!("\"kind\":{kind}")) { Ok(()) } else { Err(said.stderr) }
        })
        .await
        .unwrap_or_else(|timeout| panic!("{timeout}"));
    }
}

/// Writes a JSON Schema for each of these kinds, named as kubeconform looks for them.
async fn write_schemas(plane: &ControlPlane, directory: &Path, kinds: &BTreeSet<String>) {
    std::fs::create_dir_all(directory).unwrap();
    let get = async |path: &str| -> Value {
        let said = plane.kubectl(&["get", "--raw", path]).await.unwrap();
        assert!(said.status.success(), "{path}: {}", said.stderr);
        serde_json::from_str(&said.stdout).unwrap()
    };
    for (_, group) in get("/openapi/v3").await["paths"].as_object().unwrap() {
        let document = get(group["serverRelativeURL"].as_str().unwrap()).await;
        let Some(schemas) = document["components"]["schemas"].as_object() else { continue };
        let strict: Map<String, Value> = schemas.iter().map(|(name, schema)| (name.clone(), strict(schema))).collect();
        for (name, schema) in schemas {
            for kind in schema["x-kubernetes-group-version-kind"].as_array().into_iter().flatten() {
                if !kinds.contains(kind["kind"].as_str().unwrap_or_default()) {
                    continue;
                }
                let text = |field: &str| kind[field].as_str().unwrap_or_default().to_lowercase();
                // As in kubeconform's {{.KindSuffix}}: "-v1" in the core, else "-apps-v1" with the group's first word.
                let group = text("group");
                let group = group.split('.').next().unwrap_or_default();
                let dash = if group.is_empty() { "" } else { "-" };
                let file = directory.join(format!("{}{dash}{group}-{}.json", text("kind"), text("version")));
                let whole = json!({
                    "$ref": format!("#/components/schemas/{name}"),
                    "components": {"schemas": strict},
                });
                std::fs::write(file, whole.to_string()).unwrap();
            }
        }
    }
}

/// The schema of an object that has no fields but those which are named.
fn strict(schema: &Value) -> Value {
    match schema {
        Value::Object(fields) => {
            let mut fields: Map<String, Value> =
                fields.iter().map(|(name, value)| (name.clone(), strict(value))).collect();
            let is_closed = fields.get("properties").is_some_and(Value::is_object)
                && !fields.contains_key("additionalProperties")
                && !fields.contains_key("x-kubernetes-preserve-unknown-fields");
            if is_closed {
                fields.insert("additionalProperties".to_owned(), json!(false));
            }
            Value::Object(fields)
        }
        Value::Array(items) => Value::Array(items.iter().map(strict).collect()),
        other => other.clone(),
    }
}
