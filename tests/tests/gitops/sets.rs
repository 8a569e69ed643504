//! Everything in one folder: a namespace, and of each shape of plugin its kinds, rights, classes, templates, Secrets, streams
//! and a backfill request, all under random names. In which order an engine applies them follows from kinds and names.

use std::collections::BTreeMap;

use arcane_tests::fixture::{repository_file, streams_of};
use arcane_tests::manifests::{CHART, KINDS, NAMESPACE, STREAMS, manifests};
use fastrand::Rng;
use kube::core::ApiResource;
use serde_json::{Value, json};

const GROUP: &str = "streaming.sneaksanddata.com";

/// The shapes: directories of `examples/plugins`, the plugin of the users guide, and the same in an API group of its own.
pub const SHAPES: [&str; 8] =
    ["sql-server", "parquet", "synapse-link", "rest-api", "json", "pull", "the guide's", "another group's"];

/// A folder.
pub struct Set {
    /// The seed that it was made from.
    pub seed: u64,
    pub namespace: String,
    pub objects: Vec<Value>,
}

/// A stream of a folder.
#[derive(Debug)]
pub struct Stream {
    pub kind: ApiResource,
    pub name: String,
    pub suspended: bool,
}

impl Set {
    /// All of these shapes, with names that follow from the seed. Backfills are asked for without a word about their end.
    pub fn random(seed: u64, shapes: &[&str]) -> Self {
        let mut rng = Rng::with_seed(seed);
        let namespace = format!("{}-{}", name(&mut rng), std::process::id());
        let mut objects = vec![json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})];
        for shape in shapes {
            let group =
                if *shape == "another group's" { format!("{}.example.com", name(&mut rng)) } else { GROUP.into() };
            let mut shape = manifests_of(shape);
            shape.extend(backfill_requests(&shape));
            let mut names = names_of(&shape, &mut rng);
            names.insert(NAMESPACE.to_owned(), namespace.clone());
            objects.extend(shape.iter().map(|object| renamed(object, &names, &group)));
        }
        rng.shuffle(&mut objects);
        Self { seed, namespace, objects }
    }

    /// The text of one file that holds it all.
    pub fn yaml(&self) -> String {
        yaml(&self.objects)
    }

    pub fn of_kind<'s>(&'s self, kind: &'s str) -> impl Iterator<Item = &'s Value> {
        self.objects.iter().filter(move |object| object["kind"] == kind)
    }

    /// Its streams.
    pub fn streams(&self) -> Vec<Stream> {
        let mut streams = Vec::new();
        for crd in self.of_kind("CustomResourceDefinition") {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let (spec, version) = (&crd["spec"], text(&crd["spec"]["versions"][0]["name"]));
            let (kind, plural) = (text(&spec["names"]["kind"]), text(&spec["names"]["plural"]));
            streams.extend(self.of_kind(&kind).map(|stream| Stream {
                kind: streams_of(&text(&spec["group"]), &version, &kind, &plural),
                name: text(&stream["metadata"]["name"]),
                suspended: is_suspended(stream),
            }));
        }
        assert!(!streams.is_empty(), "a folder without streams");
        streams
    }
}

/// Objects as one text.
pub fn yaml(objects: &[Value]) -> String {
    objects.iter().map(|object| format!("{object:#}\n")).collect::<Vec<_>>().join("---\n")
}

fn is_suspended(stream: &Value) -> bool {
    stream["spec"]["suspended"] == true || stream["spec"]["execution"]["suspended"] == true
}

fn manifests_of(shape: &str) -> Vec<Value> {
    if shape == "the guide's" || shape == "another group's" {
        return the_guides(shape == "another group's");
    }
    let files = [KINDS, CHART, STREAMS].map(|file| manifests(shape, file, NAMESPACE));
    files.into_iter().flatten().map(|manifest| manifest.value).collect()
}

fn the_guides(in_another_group: bool) -> Vec<Value> {
    let files = ["sample-plugin/crd", "sample-plugin/stream-class", "sample-plugin/templates", "guide/my-stream"];
    let read = |file: &str| repository_file(&format!("examples/{file}.yaml"));
    let parsed = |text: &str| -> Vec<Value> {
        serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("not YAML: {error}\n{text}"))
    };
    let mut objects: Vec<Value> = files.iter().flat_map(|file| parsed(&read(file))).filter(Value::is_object).collect();
    if in_another_group {
        let rules = json!([
            {"apiGroups": [GROUP], "resources": ["sqlserverchangetrackingstreams"], "verbs": ["get", "list", "watch", "patch"]},
            {"apiGroups": [GROUP], "resources": ["sqlserverchangetrackingstreams/status"], "verbs": ["get", "patch"]},
            {"apiGroups": [GROUP], "resources": ["sqlserverchangetrackingstreams/finalizers"], "verbs": ["update"]},
        ]);
        let labels = json!({"arcane/aggregate-to-controller": "true", "arcane/aggregate-to-webhook": "true"});
        objects.push(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": "streams-for-arcane", "labels": labels}, "rules": rules,
        }));
    }
    objects
}

/// One for each stream that isn't suspended; their names are replaced.
fn backfill_requests(shape: &[Value]) -> Vec<Value> {
    let classes: Vec<&Value> = shape.iter().filter(|object| object["kind"] == "StreamClass").collect();
    let class_of = |stream: &Value| classes.iter().find(|class| class["spec"]["kindRef"] == stream["kind"]).copied();
    let streams = shape.iter().filter(|object| !is_suspended(object));
    let asked = streams.filter_map(|stream| Some((stream, class_of(stream)?)));
    let request = |(stream, class): (&Value, &Value)| {
        json!({
            "apiVersion": format!("{GROUP}/v1"),
            "kind": "BackfillRequest",
            "metadata": {"name": format!("{}{}", stream["kind"], stream["metadata"]["name"]), "namespace": NAMESPACE},
            "spec": {"streamClass": class["metadata"]["name"], "streamId": stream["metadata"]["name"]},
        })
    };
    asked.map(request).collect()
}

/// A new name for each name: kinds and plurals too, so that everything is new to the cluster.
fn names_of(shape: &[Value], rng: &mut Rng) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    for object in shape {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if object["kind"] != "CustomResourceDefinition" {
            names.entry(text(&object["metadata"]["name"])).or_insert_with(|| name(rng));
            continue;
        }
        let old = &object["spec"]["names"];
        let word = name(rng).replace('-', "");
        let kind = format!("{}{}Stream", word[..1].to_uppercase(), &word[1..]);
        // As some plugins do.
        let plural = if rng.bool() { format!("{word}-streams") } else { format!("{word}streams") };
        names.insert(text(&old["plural"]), plural);
        names.insert(text(&old["singular"]), kind.to_lowercase());
        names.insert(text(&old["listKind"]), format!("{kind}List"));
        names.insert(text(&old["kind"]), kind);
    }
    names
}

fn name(rng: &mut Rng) -> String {
    let letters: String = (0..rng.usize(5..20)).map(|_| rng.lowercase()).collect();
    let (first, rest) = letters.split_at(rng.usize(2..4));
    if rng.bool() { letters } else { format!("{first}-{rest}") }
}

/// The object with other names; `group` is that of the streams' kind.
fn renamed(object: &Value, names: &BTreeMap<String, String>, group: &str) -> Value {
    let mut object = object.clone();
    let is_a_stream = names.contains_key(object["kind"].as_str().unwrap_or_default());
    rename(&mut object, names);
    let kind = object["kind"].as_str().unwrap_or_default().to_owned();
    if is_a_stream {
        let version = object["apiVersion"].as_str().unwrap_or_default().replace(GROUP, group);
        object["apiVersion"] = json!(version);
        // A client-side apply drops a null that the manifest says.
        if object["spec"].as_object().is_some_and(|spec| spec.values().any(Value::is_null)) {
            object["metadata"]["annotations"] = json!({"argocd.argoproj.io/sync-options": "ServerSideApply=true"});
        }
    }
    match kind.as_str() {
        "CustomResourceDefinition" => {
            object["spec"]["group"] = json!(group);
            let plural = object["spec"]["names"]["plural"].as_str().unwrap_or_default().to_owned();
            object["metadata"]["name"] = json!(format!("{plural}.{group}"));
        }
        "StreamClass" => object["spec"]["apiGroupRef"] = json!(group),
        "ClusterRole" => {
            for rule in object["rules"].as_array_mut().into_iter().flatten() {
                rule["apiGroups"] = json!([group]);
            }
        }
        _ => {}
    }
    object
}

/// Every text that is such a name, or begins with one before a slash (`plural/status`).
fn rename(value: &mut Value, names: &BTreeMap<String, String>) {
    match value {
        Value::String(text) => {
            let (first, rest) = match text.find('/') {
                Some(at) => text.split_at(at),
                None => (text.as_str(), ""),
            };
            if let Some(new) = names.get(first) {
                *text = format!("{new}{rest}");
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(|element| rename(element, names)),
        Value::Object(fields) => fields.values_mut().for_each(|field| rename(field, names)),
        _ => {}
    }
}
