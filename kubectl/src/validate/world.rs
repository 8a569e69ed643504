//! The API server as it would be with the set applied: what the set holds is there; for all else the cluster is asked, or
//! nobody. The webhook looks things up here, and doesn't know the difference.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use arcane_common::{api::well_known, identity::ObjectName};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use k8s_openapi::api::authorization::v1::{
    SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SubjectAccessReview, SubjectAccessReviewStatus,
};
use kube::{Api, Client, api::PostParams, client::Body};
use serde_json::{Value, json};

/// The objects of one kind, by group and plural.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Resource {
    /// The API group; empty for Kubernetes' core.
    pub group: String,
    /// The plural name.
    pub plural: String,
}

/// What is where.
pub struct World {
    set: BTreeMap<Resource, BTreeMap<ObjectName, Value>>,
    behind: Option<Client>,
    notes: Mutex<BTreeSet<String>>,
}

/// What a path of the API names.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    resource: Resource,
    /// Empty: in none, or in all.
    namespace: String,
    /// `None`: a list.
    name: Option<String>,
}

impl World {
    /// A world that holds nothing but what is behind it.
    pub fn before(behind: Option<Client>) -> Self {
        Self { set: BTreeMap::new(), behind, notes: Mutex::default() }
    }

    /// Adds an object of the set; the last one of a name stays.
    pub fn add(&mut self, resource: Resource, name: ObjectName, object: Value) {
        self.set.entry(resource).or_default().insert(name, object);
    }

    /// What was found out besides.
    pub fn notes(&self) -> Vec<String> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// A client of this world.
    pub fn client(self: &Arc<Self>) -> Client {
        let world = Arc::clone(self);
        let serve = tower::service_fn(move |request| {
            let world = Arc::clone(&world);
            async move { world.answer(request).await }
        });
        Client::new(serve, "default")
    }

    async fn answer(&self, request: Request<Body>) -> Result<Response<Body>, kube::Error> {
        let path = request.uri().path().to_owned();
        if request.method() == Method::POST && path.ends_with("/subjectaccessreviews") {
            return self.may_read(request).await;
        }
        let named = named(&path);
        match &named {
            Some(Named { resource, namespace, name: Some(name) }) => {
                let held = self.set.get(resource).and_then(|held| held.get(&ObjectName::new(namespace, name)));
                if let Some(object) = held {
                    return Ok(ok(object));
                }
                let answer = self.ask_behind(request).await?;
                if *resource == namespaces() && answer.status() == StatusCode::FORBIDDEN {
                    self.note(format!(
                        "whether namespace {name} has the label {} can't be read; it is taken not to have it",
                        well_known::LABEL_MISSING_REFERENCES
                    ));
                    return Ok(not_found());
                }
                Ok(answer)
            }
            Some(Named { resource, namespace, name: None }) => {
                let held = self.set.get(resource);
                let here = |name: &&ObjectName| namespace.is_empty() || name.namespace == *namespace;
                let held: Vec<(&ObjectName, &Value)> =
                    held.into_iter().flatten().filter(|(name, _)| here(name)).collect();
                let answer = self.ask_behind(request).await?;
                let body = match answer.status() {
                    // The kind comes with the set.
                    StatusCode::NOT_FOUND => Value::Null,
                    status if status.is_success() => read(answer).await?,
                    _ => return Ok(answer),
                };
                Ok(ok(&with_held(body, &held)))
            }
            None => self.ask_behind(request).await,
        }
    }

    async fn ask_behind(&self, request: Request<Body>) -> Result<Response<Body>, kube::Error> {
        match &self.behind {
            Some(client) => client.send(request).await,
            None => Ok(not_found()),
        }
    }

    /// The webhook asks whether a user may read a template; here the user is who runs this, and asks for themselves.
    async fn may_read(&self, request: Request<Body>) -> Result<Response<Body>, kube::Error> {
        let bytes = request.into_body().collect().await?.to_bytes();
        let mut review: SubjectAccessReview = serde_json::from_slice(&bytes).map_err(kube::Error::SerdeError)?;
        let mut status = SubjectAccessReviewStatus { allowed: true, ..SubjectAccessReviewStatus::default() };
        if let Some(client) = &self.behind {
            let spec = SelfSubjectAccessReviewSpec {
                resource_attributes: review.spec.resource_attributes.clone(),
                ..SelfSubjectAccessReviewSpec::default()
            };
            let own = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
            let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
            status = api.create(&PostParams::default(), &own).await?.status.unwrap_or_default();
        }
        review.status = Some(status);
        Ok(ok(&serde_json::to_value(&review).map_err(kube::Error::SerdeError)?))
    }

    fn note(&self, note: String) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).insert(note);
    }
}

/// Where namespaces are.
pub fn namespaces() -> Resource {
    Resource { group: String::new(), plural: "namespaces".to_owned() }
}

/// A list as it is once the set is applied.
fn with_held(list: Value, held: &[(&ObjectName, &Value)]) -> Value {
    let metadata = list.get("metadata").cloned().unwrap_or_else(|| json!({}));
    let text =
        |object: &Value, field: &str| object.pointer(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let name = |object: &Value| ObjectName::new(text(object, "/metadata/namespace"), text(object, "/metadata/name"));
    let there = list.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut items: Vec<Value> =
        there.into_iter().filter(|object| held.iter().all(|(held, _)| **held != name(object))).collect();
    items.extend(held.iter().map(|(_, object)| (*object).clone()));
    json!({"apiVersion": "v1", "kind": "List", "metadata": metadata, "items": items})
}

fn named(path: &str) -> Option<Named> {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let (group, rest) = match segments[..] {
        ["api", _, ref rest @ ..] => ("", rest),
        ["apis", group, _, ref rest @ ..] => (group, rest),
        _ => return None,
    };
    let (namespace, plural, name) = match *rest {
        ["namespaces", namespace, plural] => (namespace, plural, None),
        ["namespaces", namespace, plural, name] => (namespace, plural, Some(name)),
        [plural] => ("", plural, None),
        [plural, name] => ("", plural, Some(name)),
        _ => return None,
    };
    let resource = Resource { group: group.to_owned(), plural: plural.to_owned() };
    Some(Named { resource, namespace: namespace.to_owned(), name: name.map(ToOwned::to_owned) })
}

async fn read(answer: Response<Body>) -> Result<Value, kube::Error> {
    let bytes = answer.into_body().collect().await?.to_bytes();
    serde_json::from_slice(&bytes).map_err(kube::Error::SerdeError)
}

fn ok(object: &Value) -> Response<Body> {
    Response::new(Body::from(object.to_string().into_bytes()))
}

fn not_found() -> Response<Body> {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404,
        "message": "not found"});
    let mut answer = ok(&status);
    *answer.status_mut() = StatusCode::NOT_FOUND;
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_api_are_read() {
        let of = |path: &str| named(path).map(|it| (it.resource.group, it.namespace, it.resource.plural, it.name));
        let expected = |group: &str, namespace: &str, plural: &str, name: Option<&str>| {
            Some((group.to_owned(), namespace.to_owned(), plural.to_owned(), name.map(ToOwned::to_owned)))
        };
        assert_eq!(of("/apis/a.io/v1/namespaces/n/things/t"), expected("a.io", "n", "things", Some("t")));
        assert_eq!(of("/apis/a.io/v1/namespaces/n/things"), expected("a.io", "n", "things", None));
        assert_eq!(of("/apis/a.io/v1/things"), expected("a.io", "", "things", None));
        assert_eq!(of("/api/v1/namespaces/n"), expected("", "", "namespaces", Some("n")));
        assert_eq!(of("/version"), None);
    }

    #[test]
    fn what_the_set_holds_takes_the_place_of_what_is_there() {
        let object = |name: &str, mark: i32| json!({"metadata": {"namespace": "n", "name": name}, "mark": mark});
        let (held, name) = (object("a", 2), ObjectName::new("n", "a"));
        let list = json!({"metadata": {"resourceVersion": "7"}, "items": [object("a", 1), object("b", 1)]});
        let merged = with_held(list, &[(&name, &held)]);
        assert_eq!(merged["items"], json!([object("b", 1), object("a", 2)]));
        assert_eq!(merged["metadata"]["resourceVersion"], "7");
        assert_eq!(with_held(Value::Null, &[(&name, &held)])["items"], json!([held]));
    }
}
