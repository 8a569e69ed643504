//! What the doctor makes of what was seen.

use arcane_certs::TrustBundle;
use arcane_common::{
    api::{BackfillRequest, Condition, installed, well_known},
    stream::Phase,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt as _;

use super::{
    Check, State,
    look::{Asked, Called, Configuration, Seen},
};
use crate::{
    fleet::Stream,
    screen::{ago, duration, time},
};

/// The oldest Kubernetes that is supported.
const OLDEST: (u32, u32) = (1, 31);

/// What ends within this time should have been renewed.
const SOON: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What takes longer than this is stuck.
const PATIENCE: SignedDuration = SignedDuration::from_mins(5);

/// How many names are told.
const NAMES: usize = 5;

/// Everything that was looked at.
pub(super) fn all(seen: &Seen, now: Timestamp) -> Vec<Check> {
    let mut checks = vec![server(&seen.server)];
    for (ours, theirs) in &seen.definitions {
        let what = format!("CustomResourceDefinition {}", ours.name_any());
        checks.push(match theirs {
            Err(why) => check(what, State::Unknown, why),
            Ok(theirs) => match &installed::lacks(theirs.as_ref(), ours)[..] {
                [] => check(what, State::Good, ""),
                lacks => check(what, State::Bad, format!("{}; upgrade the chart, or apply its CRDs", lacks.join("; "))),
            },
        });
    }
    checks.push(lease("controller", &seen.controller, now));
    checks.push(lease("webhook", &seen.webhook, now));
    for configuration in &seen.configurations {
        checks.extend(registration(configuration, now));
    }
    checks.extend(objects(seen, now));
    checks.extend(rights(&seen.rights));
    checks
}

fn check(what: impl Into<String>, state: State, message: impl Into<String>) -> Check {
    Check { what: what.into(), state, message: message.into() }
}

fn server(version: &Asked<String>) -> Check {
    let what = "Kubernetes";
    let version = match version {
        Ok(version) => version,
        Err(why) => return check(what, State::Unknown, why),
    };
    let mut numbers = version.split('.').map(|number| number.trim_end_matches('+').parse().unwrap_or(0));
    let read = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if read < OLDEST {
        return check(what, State::Bad, format!("version {version}; {}.{} or later is needed", OLDEST.0, OLDEST.1));
    }
    check(what, State::Good, format!("version {version}"))
}

fn lease(who: &str, (name, found): &(String, Asked<Vec<Lease>>), now: Timestamp) -> Check {
    let what = format!("Lease of the {who}");
    let leases = match found {
        Ok(leases) => leases,
        Err(why) => {
            return check(what, State::Unknown, format!("{why}; --operator-namespace NAMESPACE looks in one only"));
        }
    };
    match &leases[..] {
        [] => check(
            what,
            State::Bad,
            format!("there is no Lease {name}: is the {who} installed, and is its name another one?"),
        ),
        [lease] => held(what, lease, now),
        several => {
            let places: Vec<String> = several.iter().map(|lease| lease.namespace().unwrap_or_default()).collect();
            let fresh = several.iter().filter(|lease| held("", lease, now).state == State::Good).count();
            let message =
                format!("there are several, in the namespaces {}; {fresh} of them are held", places.join(", "));
            // Two that work do the same work twice.
            let state = if fresh == 1 { State::Warning } else { State::Bad };
            check(what, state, message)
        }
    }
}

fn held(what: impl Into<String>, lease: &Lease, now: Timestamp) -> Check {
    let name = format!("{}/{}", lease.namespace().unwrap_or_default(), lease.name_any());
    let spec = lease.spec.clone().unwrap_or_default();
    let holder = spec.holder_identity.unwrap_or_default();
    let renewed = spec.renew_time.map(|time| time.0);
    let lasts = SignedDuration::from_secs(spec.lease_duration_seconds.unwrap_or(15).into());
    match renewed {
        _ if holder.is_empty() => check(what, State::Bad, format!("nobody holds {name}: no process is at work")),
        Some(renewed) if now.duration_since(renewed) <= lasts => {
            check(what, State::Good, format!("{name} is held by {holder}"))
        }
        renewed => {
            let message = format!(
                "{holder} has not renewed {name} for {}: it is dead or can't reach the API server",
                ago(renewed, now)
            );
            check(what, State::Bad, message)
        }
    }
}

fn registration(configuration: &Configuration, now: Timestamp) -> Vec<Check> {
    let what = format!("{} {}", configuration.kind, configuration.name);
    let webhooks = match &configuration.webhooks {
        Err(why) => return vec![check(what, State::Unknown, why)],
        Ok(None) => {
            let message = "it isn't there, so nothing is judged when it is applied; the webhook makes it when it runs";
            return vec![check(what, State::Bad, message)];
        }
        Ok(Some(webhooks)) => webhooks,
    };
    let mut checks: Vec<Check> = Vec::new();
    for webhook in webhooks {
        for found in [certificate(&what, webhook, now), service(configuration.kind, webhook)].into_iter().flatten() {
            if !checks.contains(&found) {
                checks.push(found);
            }
        }
    }
    checks
}

fn certificate(what: &str, webhook: &Called, now: Timestamp) -> Option<Check> {
    let what = format!("{what}: authority");
    let bundle = TrustBundle::read(&webhook.bundle);
    let Some(last) = bundle.certificates().map(|it| it.validity().not_after).max() else {
        let message = format!("webhook {} has no certificate in its caBundle, so no call of it succeeds", webhook.name);
        return Some(check(what, State::Bad, message));
    };
    let left = last.duration_since(now);
    let when = time(Some(last));
    Some(if left.is_negative() {
        check(what, State::Bad, format!("it ended at {when}, so no call succeeds; see the webhook's log"))
    } else if left < SOON {
        check(
            what,
            State::Warning,
            format!("it ends at {when}, in {}, and should have been renewed", duration(left.as_secs())),
        )
    } else {
        check(what, State::Good, format!("until {when}"))
    })
}

fn service(kind: &str, webhook: &Called) -> Option<Check> {
    let (name, ready) = webhook.service.as_ref()?;
    let what = format!("Service {name} of the webhook");
    Some(match ready {
        Err(why) => check(what, State::Unknown, why),
        // It is called with the failure policy Ignore.
        Ok(0) if kind == "MutatingWebhookConfiguration" => {
            let message =
                "no endpoint is ready: namespaces of templates are filled in by the controller alone until one is";
            check(what, State::Warning, message)
        }
        Ok(0) => {
            check(what, State::Bad, "no endpoint is ready: new streams and changed specs are refused until one is")
        }
        Ok(ready) => check(what, State::Good, format!("{ready} ready")),
    })
}

/// Objects that don't come on.
fn objects(seen: &Seen, now: Timestamp) -> Vec<Check> {
    let mut checks = Vec::new();
    let fleet = match &seen.fleet {
        Ok(fleet) => fleet,
        Err(why) => return vec![check("streams", State::Unknown, why)],
    };
    checks.extend(fleet.gaps.iter().map(|gap| check("streams", State::Unknown, gap)));
    for class in &fleet.classes {
        let what = format!("StreamClass {}", class.name);
        let ready = Condition::find(&class.status.conditions, well_known::CONDITION_READY);
        checks.push(match ready {
            Some(ready) if ready.is_true() => check(what, State::Good, ready.message.clone()),
            Some(ready) => check(what, State::Bad, format!("{}: {}", ready.reason, ready.message)),
            None => check(what, State::Bad, "no controller has looked at it"),
        });
    }
    match &seen.templates {
        Err(why) => checks.push(check("StreamingJobTemplates", State::Unknown, why)),
        Ok(templates) => {
            let invalid = templates.iter().filter_map(|template| {
                let valid = Condition::find(&template.status.as_ref()?.conditions, well_known::CONDITION_VALID)?;
                (!valid.is_true()).then(|| named(template))
            });
            let cure = "their condition Valid tells why";
            checks.push(none(State::Bad, invalid, "StreamingJobTemplates that can't be used", cure));
        }
    }
    let streams = |is: &dyn Fn(&Stream) -> bool| -> Vec<String> {
        fleet.streams.iter().filter(|it| is(it)).map(|it| format!("{} {}", it.resource.kind, it.name())).collect()
    };
    let is_old = |since: Option<Timestamp>| since.is_some_and(|since| now.duration_since(since) > PATIENCE);
    let failed = streams(&|stream| stream.facts.recorded.phase == Some(Phase::Failed));
    checks.push(none(State::Warning, failed, "failed streams", "`kubectl arcane explain` tells why"));
    let is_unseen = |stream: &Stream| stream.conditions.is_empty() && stream.facts.recorded.phase.is_none();
    let unseen = streams(&|stream| is_unseen(stream) && is_old(stream.created));
    checks.push(none(State::Bad, unseen, "streams that no controller has seen", "is it limited to other namespaces?"));
    let deleting = streams(&|stream| is_old(stream.deleted));
    checks.push(none(State::Bad, deleting, "streams whose deletion doesn't end", "see their finalizers"));
    if fleet.gaps.is_empty() {
        let has_a_class =
            |request: &&BackfillRequest| fleet.classes.iter().any(|class| class.name == request.spec.stream_class);
        let (strays, of_no_class): (Vec<_>, Vec<_>) = fleet.strays.iter().partition(has_a_class);
        let cure = "create the stream, or delete them";
        checks.push(none(
            State::Warning,
            strays.into_iter().map(named),
            "open BackfillRequests without a stream",
            cure,
        ));
        if !of_no_class.is_empty() {
            let what = "open BackfillRequests without a StreamClass";
            let cure = "create the class again: neither they nor its streams are looked after";
            checks.push(none(State::Bad, of_no_class.into_iter().map(named), what, cure));
        }
    }
    checks
}

fn named(object: &impl kube::ResourceExt) -> String {
    format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
}

/// Good, where there are none.
fn none(otherwise: State, names: impl IntoIterator<Item = String>, what: &str, cure: &str) -> Check {
    let names: Vec<String> = names.into_iter().collect();
    if names.is_empty() {
        return check(what, State::Good, "none");
    }
    let more = names.len().saturating_sub(NAMES);
    let told = names.iter().take(NAMES).cloned().collect::<Vec<_>>().join(", ");
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    check(what, otherwise, format!("{told}{more}; {cure}"))
}

fn rights(rights: &[(String, Asked<bool>)]) -> Vec<Check> {
    let what = "your rights";
    let missing: Vec<&str> =
        rights.iter().filter(|(_, may)| *may == Ok(false)).map(|(right, _)| right.as_str()).collect();
    let unknown = rights.iter().find_map(|(_, may)| may.as_ref().err());
    if let Some(why) = unknown {
        return vec![check(what, State::Unknown, why)];
    }
    if missing.is_empty() {
        return vec![check(what, State::Good, "all that this plugin can use")];
    }
    vec![check(what, State::Warning, format!("you may not {}; the commands that need it say so", missing.join(", ")))]
}

#[cfg(test)]
mod tests {
    use arcane_certs::{Authority, Lifetimes};
    use serde_json::json;

    use super::*;
    use crate::fleet::samples::{a_fleet, at, read};

    fn a_lease(renewed: &str) -> Lease {
        read(json!({"metadata": {"name": "arcane-operator", "namespace": "arcane"}, "spec": {
            "holderIdentity": "pod-1", "leaseDurationSeconds": 15, "renewTime": format!("2026-01-02T{renewed}.000000Z")}}))
    }

    fn a_webhook(made: Timestamp, ready: usize) -> Configuration {
        let hours = |hours| SignedDuration::from_hours(hours);
        let authority = Authority::create(made, &Lifetimes::of(hours(365 * 24), hours(7 * 24))).unwrap();
        let called = Called {
            name: "streams".to_owned(),
            bundle: authority.certificate().pem().into_bytes(),
            service: Some(("arcane/arcane-operator-webhook".to_owned(), Ok(ready))),
        };
        Configuration { kind: "ValidatingWebhookConfiguration", name: "w".to_owned(), webhooks: Ok(Some(vec![called])) }
    }

    fn a_cluster() -> Seen {
        let definitions = arcane_common::api::crds();
        Seen {
            server: Ok("1.36".to_owned()),
            definitions: definitions.into_iter().map(|ours| (ours.clone(), Ok(Some(ours)))).collect(),
            controller: ("arcane-operator".to_owned(), Ok(vec![a_lease("11:59:55")])),
            webhook: ("arcane-operator-webhook".to_owned(), Ok(vec![a_lease("11:59:55")])),
            configurations: vec![a_webhook(at("00:00:00"), 2)],
            fleet: Ok(a_fleet()),
            templates: Ok(Vec::new()),
            rights: vec![("list streamclasses.streaming.sneaksanddata.com".to_owned(), Ok(true))],
        }
    }

    fn found(seen: &Seen) -> String {
        super::super::printed(&all(seen, at("12:00:00")))
    }

    #[test]
    fn everything_is_looked_at() {
        insta::assert_snapshot!("doctor_finds_what_is_wrong_with_streams", found(&a_cluster()));
    }

    #[test]
    fn an_arcane_that_is_ill_is_told_apart_from_one_that_cannot_be_seen() {
        let mut ill = a_cluster();
        ill.server = Ok("1.30".to_owned());
        ill.definitions[0].1 = Ok(None);
        ill.controller.1 = Ok(vec![a_lease("11:00:00")]);
        ill.webhook.1 = Ok(Vec::new());
        ill.configurations = vec![a_webhook(at("00:00:00") - SignedDuration::from_hours(366 * 24), 0)];
        ill.rights[0].1 = Ok(false);
        insta::assert_snapshot!("doctor_finds_what_is_wrong_with_arcane", found(&ill));
        let mut dark = a_cluster();
        let why = || "forbidden".to_owned();
        dark.controller.1 = Err(why());
        dark.configurations[0].webhooks = Err(why());
        dark.fleet = Err(why());
        let states: Vec<State> = all(&dark, at("12:00:00")).into_iter().map(|check| check.state).collect();
        assert!(!states.contains(&State::Bad), "what can't be seen isn't wrong");
        assert_eq!(states.iter().filter(|state| **state == State::Unknown).count(), 3);
    }

    #[test]
    fn what_only_fills_in_refuses_nobody() {
        let mut filling_in = a_webhook(at("00:00:00"), 0);
        filling_in.kind = "MutatingWebhookConfiguration";
        let checks = registration(&filling_in, at("12:00:00"));
        let service = checks.iter().find(|check| check.what.starts_with("Service")).unwrap();
        assert!(service.state == State::Warning && !service.message.contains("refused"), "{}", service.message);
    }

    #[test]
    fn a_request_whose_class_is_missing_is_not_to_be_deleted() {
        let mut seen = a_cluster();
        let Ok(fleet) = &mut seen.fleet else { panic!("a fleet that can be seen") };
        let of_no_class =
            json!({"metadata": {"name": "r", "namespace": "data"}, "spec": {"streamClass": "gone", "streamId": "s"}});
        fleet.strays = vec![serde_json::from_value(of_no_class).unwrap()];
        let told = found(&seen);
        assert!(told.contains("open BackfillRequests without a StreamClass: data/r; create the class again"), "{told}");
        assert!(told.contains("open BackfillRequests without a stream: none"), "{told}");
    }
}
