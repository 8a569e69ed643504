//! What admission adds to the creation of a stream: nothing, a policy in CEL, webhooks that look at nothing, ours.

use std::path::Path;
use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
    ValidatingWebhookConfiguration,
};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::DynamicObject;
use kube::{Api, ResourceExt as _};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::bare::IN_PARALLEL;
use super::figures::{Machine, Spread};
use super::no_op_webhook::NoOpWebhook;
use super::place::{GROUP, MANY, Name, Place, Stream, class_name, kind_of, manifest, resource};
use super::{Failure, by_itself, say};
use crate::fixture::apply_typed;
use crate::operator::{OperatorProcess, controller_binary, webhook_binary};
use crate::wait::eventually;
use crate::webhook::{WEBHOOK, WebhookAccess};

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct AdmissionOptions {
    /// How often everything is done; each time in the same order.
    pub rounds: usize,
    /// Creations of a round, [`IN_PARALLEL`] at a time.
    pub parallel: usize,
    /// Creations of a round, one after the other.
    pub alone: usize,
    /// How many templates the webhook knows when it is measured alone.
    pub templates: usize,
    /// For how long it is measured alone.
    pub reviews_for: Duration,
}

/// What stands between a user and etcd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Guard {
    /// Nothing but the CRD's schema.
    Nothing,
    /// A ValidatingAdmissionPolicy with three expressions.
    Policy,
    /// A validating webhook that looks at nothing.
    NoOpValidating,
    /// It, and a mutating one that adds a field.
    NoOpBoth,
    /// Our webhook, validating and mutating.
    Ours,
}

impl Guard {
    /// In the order in which they are measured.
    pub const ALL: [Self; 5] = [Self::Nothing, Self::Policy, Self::NoOpValidating, Self::NoOpBoth, Self::Ours];

    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Policy => "a ValidatingAdmissionPolicy",
            Self::NoOpValidating => "a no-op webhook, validating",
            Self::NoOpBoth => "no-op webhooks, validating and mutating",
            Self::Ours => "our webhook, validating and mutating",
        }
    }
}

/// Creations behind one guard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Guarded {
    /// Which.
    pub guard: Guard,
    /// Seconds of each creation, one after the other.
    pub alone: Spread,
    /// Seconds of each creation, [`IN_PARALLEL`] at a time.
    pub parallel: Spread,
    /// Creations per second of each round, [`IN_PARALLEL`] at a time.
    pub rates: Vec<f64>,
}

/// What `bench webhook` writes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Admission {
    /// When it began.
    pub when: String,
    /// Where.
    pub machine: Machine,
    /// Each guard.
    pub guards: Vec<Guarded>,
    /// Seconds from the start of our webhook's process until it said that it is ready, once per round.
    pub cold_start: Spread,
    /// Megabytes of the controller's binary.
    pub controller_size: f64,
    /// Megabytes of the webhook's binary.
    pub webhook_size: f64,
    /// Our webhook without an API server.
    pub by_itself: Option<by_itself::ByItself>,
}

/// Measures, and tells on stderr how it goes.
///
/// # Errors
/// When the control plane can't be had or refuses something.
pub async fn measure(options: AdmissionOptions, log: &Path) -> Result<Admission, Failure> {
    let when = Timestamp::now().round(jiff::Unit::Second)?.to_string();
    let place = Place::start(1).await?;
    give_schema(&place).await?;
    let directory = place.fixture.cluster().directory().to_owned();
    let no_op = NoOpWebhook::start(place.client(), GROUP, &kind_of(0).plural, &directory).await?;
    let ours = WebhookAccess::in_cluster(place.fixture.cluster()).await;
    let creator = Creator { place: &place, streams: Api::namespaced_with(place.client(), MANY, &kind_of(0)) };
    say("a control plane is up");

    let mut samples: Vec<Samples> = Guard::ALL.into_iter().map(Samples::of).collect();
    let mut cold_starts = Vec::new();
    for round in 1..=options.rounds {
        for samples in &mut samples {
            let began = Instant::now();
            let process = creator.raise(samples.guard, &no_op, &ours, log).await?;
            if process.is_some() {
                cold_starts.push(began.elapsed().as_secs_f64());
            }
            creator.guarded_by(samples.guard, &no_op).await?;
            creator.create(20, 1).await?; // connections are opened, code is warm
            creator.wipe().await?;
            samples.alone.extend(creator.create(options.alone, 1).await?.1);
            creator.wipe().await?;
            let (seconds, at_once) = creator.create(options.parallel, IN_PARALLEL).await?;
            samples.rates.push(options.parallel as f64 / seconds);
            samples.parallel.extend(at_once);
            creator.wipe().await?;
            creator.lower(samples.guard, &no_op, process).await?;
            say(&format!("round {round}, {}", samples.told()));
        }
    }
    let guards = samples.iter().map(Samples::figures).collect();
    let by_itself = match options.templates {
        0 => None,
        templates => Some(by_itself::measure(&place, &ours, templates, options.reviews_for, log).await?),
    };
    drop(no_op);
    place.stop().await;
    let megabytes = |path: std::path::PathBuf| Ok::<_, Failure>(std::fs::metadata(path)?.len() as f64 / 1e6);
    Ok(Admission {
        when,
        machine: Machine::this(),
        guards,
        cold_start: Spread::of(cold_starts),
        controller_size: megabytes(controller_binary()?)?,
        webhook_size: megabytes(webhook_binary()?)?,
        by_itself,
    })
}

/// Seconds of creations behind one guard, so far.
struct Samples {
    guard: Guard,
    alone: Vec<f64>,
    parallel: Vec<f64>,
    rates: Vec<f64>,
}

impl Samples {
    fn of(guard: Guard) -> Self {
        Self { guard, alone: Vec::new(), parallel: Vec::new(), rates: Vec::new() }
    }

    fn figures(&self) -> Guarded {
        let spread = |seconds: &[f64]| Spread::of(seconds.iter().copied());
        let (alone, parallel) = (spread(&self.alone), spread(&self.parallel));
        Guarded { guard: self.guard, alone, parallel, rates: self.rates.clone() }
    }

    fn told(&self) -> String {
        let Guarded { alone, parallel, .. } = self.figures();
        format!(
            "{}: alone p50 {:.2} ms, p99 {:.2} ms; {IN_PARALLEL} at a time p50 {:.1} ms, p99 {:.1} ms",
            self.guard.name(),
            alone.p50 * 1000.0,
            alone.p99 * 1000.0,
            parallel.p50 * 1000.0,
            parallel.p99 * 1000.0,
        )
    }
}

/// The class gets a schema, so that every check of ours has something to do.
async fn give_schema(place: &Place) -> Result<(), Failure> {
    let classes: Api<DynamicObject> = Api::all_with(place.client(), &resource("StreamClass", "streamclasses"));
    let schema = json!({
        "type": "object",
        "required": ["source", "destination"],
        "properties": {
            "source": {"type": "string", "minLength": 1, "pattern": "^[a-z-]+$"},
            "destination": {"type": "string", "minLength": 1},
            "tables": {"type": "array", "items": {
                "type": "object", "required": ["name"],
                "properties": {"name": {"type": "string", "maxLength": 64}, "rows": {"type": "integer", "minimum": 0}},
            }},
        },
    });
    let patch = Patch::Merge(json!({"spec": {"streamSchema": schema}}));
    classes.patch(&class_name(0), &PatchParams::default(), &patch).await?;
    Ok(())
}

/// A stream whose template's namespace is left out, of about 2 KB.
pub fn a_stream(name: &str) -> Value {
    let name = Name { namespace: MANY.to_owned(), name: name.to_owned() };
    let mut object = manifest(&Stream { name, class: 0 });
    let table = |at: usize| json!({"name": format!("dbo.a_table_with_a_long_name_{at:03}"), "rows": 1000 + at});
    object["spec"]["tables"] = (0..26).map(table).collect();
    if let Some(reference) = object["spec"]["jobTemplateRef"].as_object_mut() {
        reference.remove("namespace");
    }
    object
}

struct Creator<'p> {
    place: &'p Place,
    streams: Api<DynamicObject>,
}

impl Creator<'_> {
    /// Creates so many streams, so many at a time: seconds of all, and of each.
    async fn create(&self, number: usize, at_a_time: usize) -> Result<(f64, Vec<f64>), Failure> {
        let began = Instant::now();
        let one = |at: usize| async move {
            let object = serde_json::from_value(a_stream(&format!("s-{at:05}")))?;
            let began = Instant::now();
            self.streams.create(&PostParams::default(), &object).await?;
            Ok::<_, Failure>(began.elapsed().as_secs_f64())
        };
        let each = stream::iter(0..number).map(one).buffer_unordered(at_a_time).try_collect().await?;
        Ok((began.elapsed().as_secs_f64(), each))
    }

    async fn wipe(&self) -> Result<(), Failure> {
        self.streams.delete_collection(&DeleteParams::background(), &ListParams::default()).await?;
        eventually(Duration::from_secs(60), "end of the streams", || async {
            let left = self.streams.list_metadata(&ListParams::default().limit(1)).await;
            if left.map_err(|error| error.to_string())?.items.is_empty() { Ok(()) } else { Err("some".to_owned()) }
        })
        .await?;
        Ok(())
    }

    async fn raise(
        &self,
        guard: Guard,
        no_op: &NoOpWebhook,
        ours: &WebhookAccess,
        log: &Path,
    ) -> Result<Option<OperatorProcess>, Failure> {
        match guard {
            Guard::Nothing => {}
            Guard::Policy => raise_policy(self.place).await,
            Guard::NoOpValidating => no_op.register(false).await,
            Guard::NoOpBoth => no_op.register(true).await,
            Guard::Ours => {
                let mut options = ours.options(ours.port, "unused");
                log.clone_into(&mut options.log);
                // As it is installed.
                options.environment.clear();
                return Ok(Some(OperatorProcess::start(options).await?));
            }
        }
        Ok(None)
    }

    async fn lower(&self, guard: Guard, no_op: &NoOpWebhook, process: Option<OperatorProcess>) -> Result<(), Failure> {
        let (client, gone) = (self.place.client(), DeleteParams::default());
        match guard {
            Guard::Nothing => {}
            Guard::Policy => {
                let policies: Api<ValidatingAdmissionPolicy> = Api::all(client.clone());
                let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(client);
                bindings.delete(POLICY, &gone).await?;
                policies.delete(POLICY, &gone).await?;
            }
            Guard::NoOpValidating | Guard::NoOpBoth => no_op.unregister().await,
            Guard::Ours => {
                if let Some(process) = process {
                    WebhookAccess::end(process).await;
                }
                unregister(self.place).await?;
            }
        }
        self.guarded_by(Guard::Nothing, no_op).await
    }

    /// Waits until the API server does as it was told: what is tried is wrong for a policy and for our webhook.
    async fn guarded_by(&self, guard: Guard, no_op: &NoOpWebhook) -> Result<(), Failure> {
        let mut bad = a_stream("bad");
        bad["spec"]["jobTemplateRef"]["name"] = json!("missing");
        if let Some(spec) = bad["spec"].as_object_mut() {
            spec.remove("suspended");
        }
        let bad: DynamicObject = serde_json::from_value(bad)?;
        let params = PostParams { dry_run: true, ..PostParams::default() };
        eventually(Duration::from_secs(60), &format!("creation behind {}", guard.name()), || async {
            let before = no_op.calls();
            let tried = self.streams.create(&params, &bad).await;
            let (refused, called) = (tried.is_err(), no_op.calls() - before);
            let as_told = match guard {
                Guard::Nothing => !refused && called == 0,
                Guard::Policy | Guard::Ours => refused && called == 0,
                Guard::NoOpValidating => !refused && called == 1,
                Guard::NoOpBoth => !refused && called == 2,
            };
            if as_told { Ok(()) } else { Err(format!("{called} calls, {:?}", tried.map(|object| object.name_any()))) }
        })
        .await?;
        Ok(())
    }
}

/// Has our webhook called no more, once it has ended.
pub(super) async fn unregister(place: &Place) -> Result<(), Failure> {
    let gone = DeleteParams::default();
    let validating: Api<ValidatingWebhookConfiguration> = Api::all(place.client());
    let mutating: Api<MutatingWebhookConfiguration> = Api::all(place.client());
    validating.delete(WEBHOOK, &gone).await?;
    mutating.delete(WEBHOOK, &gone).await?;
    Ok(())
}

const POLICY: &str = "bench";

async fn raise_policy(place: &Place) {
    let expressions = [
        "has(object.spec.jobTemplateRef) && object.spec.jobTemplateRef.name != ''",
        "has(object.spec.suspended)",
        "!has(object.spec.execution) || object.spec.execution.layoutVersion in ['v1', 'v2']",
    ];
    let validations: Vec<Value> = expressions.iter().map(|text| json!({"expression": text})).collect();
    let policy = json!({"spec": {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [{
            "apiGroups": [GROUP], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"],
            "resources": [kind_of(0).plural],
        }]},
        "validations": validations,
    }});
    apply_typed::<ValidatingAdmissionPolicy>(Api::all(place.client()), POLICY, policy).await;
    let binding = json!({"spec": {"policyName": POLICY, "validationActions": ["Deny"]}});
    apply_typed::<ValidatingAdmissionPolicyBinding>(Api::all(place.client()), POLICY, binding).await;
}
