//! One question, asked in every way in which a client can ask it: each must get the same answer.
//!
//! A new object is created and applied, an old one replaced, merged and applied over; each as a dry run first, which must
//! get the very answer of the real thing and leave nothing behind.

mod answer;

use arcane_tests::fixture::SOON;
use arcane_tests::{TestNamespace, eventually, is_too_busy};
use http::{Method, Request};
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

pub use answer::Answer;
use answer::{Expected, check, text_of_warning};

use crate::plugins::{GROUP, plural_of};

/// How a client writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `kubectl create`, and `kubectl apply` of something new.
    Create,
    /// `kubectl apply --server-side`, Flux, Argo CD.
    Apply,
    /// `kubectl replace`, `kubectl edit`.
    Replace,
    /// `kubectl apply` of something that is there, `kubectl patch --type merge`.
    Merge,
}

const OF_WHAT_IS_NEW: [Way; 2] = [Way::Create, Way::Apply];
const OF_WHAT_IS_THERE: [Way; 3] = [Way::Replace, Way::Merge, Way::Apply];

impl Way {
    /// What kubectl calls itself when it writes so.
    fn manager(self) -> &'static str {
        match self {
            Self::Create => "kubectl-create",
            Self::Apply => "kubectl",
            Self::Replace => "kubectl-replace",
            Self::Merge => "kubectl-client-side-apply",
        }
    }
}

/// Whoever asks, in one namespace.
#[derive(Clone)]
pub struct Asked {
    client: Client,
    namespace: String,
    manager: Option<String>,
}

impl Asked {
    /// The admin, with kubectl.
    pub fn in_namespace(ns: &TestNamespace<'_>) -> Self {
        Self { client: ns.fixture().client(), namespace: ns.name().to_owned(), manager: None }
    }

    /// The same by another client: what it calls itself.
    pub fn by(&self, manager: &str) -> Self {
        Self { manager: Some(manager.to_owned()), ..self.clone() }
    }

    /// The same by another user.
    pub fn as_user(&self, client: Client) -> Self {
        Self { client, ..self.clone() }
    }

    /// Is refused as something new, and where `good` was before; gives the messages.
    pub async fn refuses(&self, good: &Value, bad: &Value, fields: &[&str]) -> Vec<String> {
        let new = self.refuses_new(bad, fields).await;
        let changed = self.refuses_change(&named_like(good, bad), bad, fields).await;
        assert_eq!(new, changed, "one answer to the new and the changed");
        new
    }

    pub async fn refuses_new(&self, bad: &Value, fields: &[&str]) -> Vec<String> {
        self.created(bad, &Expected::Refused(fields)).await
    }

    pub async fn refuses_change(&self, good: &Value, bad: &Value, fields: &[&str]) -> Vec<String> {
        self.changed(good, bad, &Expected::Refused(fields)).await
    }

    /// Is let in without a word, as something new and where `good` was before.
    pub async fn accepts(&self, good: &Value, object: &Value) {
        self.warns(good, object, &[]).await;
    }

    /// Is let in with these warnings, as something new and where `good` was before.
    pub async fn warns(&self, good: &Value, object: &Value, warnings: &[&str]) -> Vec<String> {
        let new = self.warns_of_new(object, warnings).await;
        let changed = self.warns_of_change(&named_like(good, object), object, warnings).await;
        assert_eq!(new, changed, "one answer to the new and the changed");
        new
    }

    pub async fn warns_of_new(&self, object: &Value, warnings: &[&str]) -> Vec<String> {
        self.created(object, &Expected::Allowed(warnings)).await
    }

    pub async fn warns_of_change(&self, good: &Value, object: &Value, warnings: &[&str]) -> Vec<String> {
        self.changed(good, object, &Expected::Allowed(warnings)).await
    }

    /// Lets an object that is there become another one in every way, without a word. It is put back to what it was after
    /// each, so it must be possible to go back, too.
    pub async fn lets_it_become(&self, object: &Value) {
        self.is_told_when_it_becomes(object, &[]).await;
    }

    /// The same with warnings.
    pub async fn is_told_when_it_becomes(&self, object: &Value, warnings: &[&str]) {
        let before = self.get(object).await.expect("it is there");
        for way in [Way::Replace, Way::Merge] {
            self.change_once(way, &before, object, &Expected::Allowed(warnings)).await;
            let back = self.write(Way::Replace, false, &before).await;
            assert!(back.is_allowed(), "back again: {back:?}");
        }
        // Over what others have applied, and only what differs from it.
        self.change_once(Way::Apply, &before, object, &Expected::Allowed(warnings)).await;
        let back = self.write(Way::Replace, false, &before).await;
        assert!(back.is_allowed(), "back again: {back:?}");
    }

    /// Lets an object that is there become a better one, from which there is no way back.
    pub async fn lets_it_be_mended(&self, object: &Value) {
        for way in OF_WHAT_IS_THERE {
            check(
                &self.write(way, true, object).await,
                object,
                &Expected::Allowed(&[]),
                &format!("{way:?} as dry run"),
            );
        }
        check(&self.write(Way::Merge, false, object).await, object, &Expected::Allowed(&[]), "Merge");
    }

    /// Doesn't let an object that is there become another one, in whatever way.
    pub async fn does_not_let_it_become(&self, object: &Value, fields: &[&str]) -> Vec<String> {
        let before = self.get(object).await.expect("it is there");
        let mut said = Vec::new();
        for way in OF_WHAT_IS_THERE {
            said.push(self.change_once(way, &before, object, &Expected::Refused(fields)).await);
        }
        all_the_same(said)
    }

    async fn created(&self, object: &Value, expected: &Expected<'_>) -> Vec<String> {
        let mut said = Vec::new();
        for way in OF_WHAT_IS_NEW {
            let dry = self.write(way, true, object).await;
            let words = check(&dry, object, expected, &format!("{way:?} as dry run"));
            assert_eq!(self.get(object).await, None, "a dry run left {object} behind");
            let real = self.write(way, false, object).await;
            assert_eq!(words, check(&real, object, expected, &format!("{way:?}")), "the dry run said something else");
            assert_eq!(self.get(object).await.is_some(), real.is_allowed(), "{way:?} of {object}");
            if real.is_allowed() {
                self.delete(object).await;
            }
            said.push(words);
        }
        all_the_same(said)
    }

    async fn changed(&self, good: &Value, object: &Value, expected: &Expected<'_>) -> Vec<String> {
        let mut said = Vec::new();
        for way in OF_WHAT_IS_THERE {
            let before = self.put(good).await;
            said.push(self.change_once(way, &before, object, expected).await);
            self.delete(good).await;
        }
        all_the_same(said)
    }

    async fn change_once(&self, way: Way, before: &Value, object: &Value, expected: &Expected<'_>) -> Vec<String> {
        let dry = self.write(way, true, object).await;
        let words = check(&dry, object, expected, &format!("{way:?} as dry run"));
        let unchanged = self.get(object).await.expect("it is there");
        assert_eq!(unchanged["spec"], before["spec"], "a dry run changed it");
        let real = self.write(way, false, object).await;
        assert_eq!(words, check(&real, object, expected, &format!("{way:?}")), "the dry run said something else");
        if !real.is_allowed() {
            let unchanged = self.get(object).await.expect("it is there");
            assert_eq!(unchanged["spec"], before["spec"], "what was refused changed it");
        }
        words
    }

    /// Puts an object there that is new, as one who may apply whatever the webhook lets in.
    pub async fn put(&self, object: &Value) -> Value {
        let answer = self.write(Way::Apply, false, object).await;
        assert!(answer.is_allowed(), "{object} is to be there: {answer:?}");
        answer.body
    }

    /// Writes an object. What the controller writes into it meanwhile is no conflict, and a machine too busy for the webhook no
    /// answer.
    pub async fn write(&self, way: Way, dry_run: bool, object: &Value) -> Answer {
        eventually(SOON, &format!("answer to {way:?}"), || async {
            let answer = self.write_once(way, dry_run, object).await;
            let is_conflict = answer.code == 409 && way == Way::Replace;
            let words = answer.body.to_string();
            if is_conflict || is_too_busy(&words) { Err(words) } else { Ok(answer) }
        })
        .await
        .unwrap_or_else(|timeout| panic!("{timeout}"))
    }

    async fn write_once(&self, way: Way, dry_run: bool, object: &Value) -> Answer {
        let manager = self.manager.as_deref().unwrap_or(way.manager());
        let mut query = format!("fieldManager={manager}&fieldValidation=Ignore");
        if dry_run {
            query.push_str("&dryRun=All");
        }
        let one = self.path(object, true);
        match way {
            Way::Create => self.send(Method::POST, &self.path(object, false), &query, "json", Some(object)).await,
            Way::Apply => {
                self.send(Method::PATCH, &one, &format!("{query}&force=true"), "apply-patch+yaml", Some(object)).await
            }
            Way::Replace => {
                let mut there = self.get(object).await.expect("it is there");
                there["spec"] = object["spec"].clone();
                for field in ["labels", "finalizers"] {
                    there["metadata"][field] = object["metadata"][field].clone();
                }
                for (key, value) in object["metadata"]["annotations"].as_object().into_iter().flatten() {
                    there["metadata"]["annotations"][key] = value.clone();
                }
                self.send(Method::PUT, &one, &query, "json", Some(&there)).await
            }
            Way::Merge => {
                let there = self.get(object).await.expect("it is there");
                let mut patch = json!({"spec": difference(&there["spec"], &object["spec"]), "metadata": {}});
                for field in ["labels", "annotations", "finalizers"] {
                    if !object["metadata"][field].is_null() {
                        patch["metadata"][field] = object["metadata"][field].clone();
                    }
                }
                self.send(Method::PATCH, &one, &query, "merge-patch+json", Some(&patch)).await
            }
        }
    }

    /// Merges a patch into an object.
    pub async fn merge(&self, object: &Value, patch: &Value) -> Answer {
        let manager = self.manager.as_deref().unwrap_or("kubectl-patch");
        let query = format!("fieldManager={manager}");
        self.send(Method::PATCH, &self.path(object, true), &query, "merge-patch+json", Some(patch)).await
    }

    /// Merges a patch into the status of an object.
    pub async fn merge_status(&self, object: &Value, patch: &Value) -> Answer {
        let path = format!("{}/status", self.path(object, true));
        self.send(Method::PATCH, &path, "", "merge-patch+json", Some(patch)).await
    }

    pub async fn get(&self, object: &Value) -> Option<Value> {
        let admin_or_not = self.send(Method::GET, &self.path(object, true), "", "json", None).await;
        match admin_or_not.code {
            200 => Some(admin_or_not.body),
            404 => None,
            _ => panic!("{admin_or_not:?}"),
        }
    }

    /// Deletes an object, which must succeed.
    pub async fn delete(&self, object: &Value) {
        let answer = self.deletion(object, false).await;
        assert!(answer.is_allowed(), "{answer:?}");
    }

    /// Deletes an object. A deletion has no field manager.
    pub async fn deletion(&self, object: &Value, dry_run: bool) -> Answer {
        let query = if dry_run { "dryRun=All" } else { "" };
        self.send(Method::DELETE, &self.path(object, true), query, "json", None).await
    }

    fn path(&self, object: &Value, with_name: bool) -> String {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
        let namespace = match kind.as_str() {
            "StreamClass" => String::new(),
            _ => format!("/namespaces/{}", self.namespace),
        };
        let name = if with_name { format!("/{}", text(&object["metadata"]["name"])) } else { String::new() };
        format!("/apis/{version}{namespace}/{}{name}", plural_of(&kind))
    }

    /// The plain HTTP request: clients for Kubernetes keep warnings to themselves.
    async fn send(&self, method: Method, path: &str, query: &str, form: &str, body: Option<&Value>) -> Answer {
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(format!("{path}?{query}"))
            .header(http::header::CONTENT_TYPE, format!("application/{form}"))
            .body(Body::from(body))
            .unwrap();
        let response = self.client.send(request).await.unwrap_or_else(|error| panic!("{path}: {error}"));
        let code = response.status().as_u16();
        let warnings = response.headers().get_all(http::header::WARNING);
        let warnings =
            warnings.iter().map(|value| text_of_warning(&String::from_utf8_lossy(value.as_bytes()))).collect();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        Answer { code, body, warnings }
    }
}

fn all_the_same(mut said: Vec<Vec<String>>) -> Vec<String> {
    let first = said.remove(0);
    assert!(said.iter().all(|words| *words == first), "one way is told something else: {first:?}, {said:?}");
    first
}

fn named_like(good: &Value, object: &Value) -> Value {
    let mut good = good.clone();
    good["metadata"]["name"] = object["metadata"]["name"].clone();
    good
}

/// The merge patch that makes one value of the other.
fn difference(from: &Value, to: &Value) -> Value {
    let (Value::Object(before), Value::Object(after)) = (from, to) else { return to.clone() };
    let mut patch = serde_json::Map::new();
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    for (key, value) in after {
        match before.get(key) {
            Some(there) if there == value => {}
            Some(there) => {
                patch.insert(key.clone(), difference(there, value));
            }
            None => {
                patch.insert(key.clone(), value.clone());
            }
        }
    }
    Value::Object(patch)
}

/// An object of a kind of our group.
pub fn object(kind: &str, name: &str, spec: Value) -> Value {
    of_group(GROUP, kind, name, spec)
}

pub fn of_group(group: &str, kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": format!("{group}/v1"), "kind": kind, "metadata": {"name": name}, "spec": spec})
}

/// The same object with a label.
pub fn labelled(mut object: Value, label: &str, value: &str) -> Value {
    object["metadata"]["labels"][label] = json!(value);
    object
}

/// The same object with other fields in its spec: a null takes one away.
pub fn with(mut object: Value, more: Value) -> Value {
    for (field, value) in more.as_object().unwrap() {
        let spec = object["spec"].as_object_mut().unwrap();
        if value.is_null() {
            spec.remove(field)
        } else {
            spec.insert(field.clone(), value.clone())
        };
    }
    object
}
