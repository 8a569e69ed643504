//! What to write so that our configurations say what they shall.

use std::collections::{BTreeMap, BTreeSet};

use arcane_certs::TrustBundle;
use arcane_common::api::well_known;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{PluginKind, Settings, wanted_mutating, wanted_validating};
use crate::owner::Owner;

/// What there is.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// The configurations as they are; absence is confirmed by a live read.
    pub validating: Option<ValidatingWebhookConfiguration>,
    /// See `validating`.
    pub mutating: Option<MutatingWebhookConfiguration>,
    /// Who shall own them.
    pub owner: Owner,
    /// The kinds of streams of other groups that a class registers and a CustomResourceDefinition backs.
    pub kinds: BTreeSet<PluginKind>,
    /// Whom the API server shall trust.
    pub trust: Trust,
}

/// Whom the API server shall trust.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// It isn't time to be called.
    NotYet,
    /// Whatever the configurations say already: somebody else writes it.
    AsItIs,
    /// These.
    Bundle(TrustBundle),
}

/// What to write: a whole object, with the version that was read if there was one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The ValidatingWebhookConfiguration.
    pub validating: Option<ValidatingWebhookConfiguration>,
    /// The MutatingWebhookConfiguration.
    pub mutating: Option<MutatingWebhookConfiguration>,
}

/// Decides what to write.
pub fn plan(observed: &Observed, settings: &Settings) -> Plan {
    if observed.trust == Trust::NotYet || observed.owner == Owner::Missing {
        return Plan::default();
    }
    Plan { validating: validating(observed, settings), mutating: mutating(observed, settings) }
}

fn validating(observed: &Observed, settings: &Settings) -> Option<ValidatingWebhookConfiguration> {
    let is = observed.validating.clone().unwrap_or_default();
    let mut entries = wanted_validating(settings, &observed.kinds);
    let before = is.webhooks.iter().flatten().map(|entry| (entry.name.as_str(), &entry.client_config)).collect();
    for entry in &mut entries {
        entry.client_config.ca_bundle = bundle(&observed.trust, &before, &entry.name);
    }
    let metadata = metadata(&is.metadata, observed, settings);
    let wanted = ValidatingWebhookConfiguration { metadata, webhooks: Some(entries) };
    (wanted != is).then_some(wanted)
}

fn mutating(observed: &Observed, settings: &Settings) -> Option<MutatingWebhookConfiguration> {
    let is = observed.mutating.clone().unwrap_or_default();
    let mut entries = wanted_mutating(settings, &observed.kinds);
    let before = is.webhooks.iter().flatten().map(|entry| (entry.name.as_str(), &entry.client_config)).collect();
    for entry in &mut entries {
        entry.client_config.ca_bundle = bundle(&observed.trust, &before, &entry.name);
    }
    let metadata = metadata(&is.metadata, observed, settings);
    let wanted = MutatingWebhookConfiguration { metadata, webhooks: Some(entries) };
    (wanted != is).then_some(wanted)
}

fn bundle(trust: &Trust, before: &BTreeMap<&str, &WebhookClientConfig>, entry: &str) -> Option<ByteString> {
    match trust {
        Trust::Bundle(bundle) => Some(ByteString(bundle.pem().into_bytes())),
        Trust::AsItIs => before.get(entry).and_then(|config| config.ca_bundle.clone()),
        Trust::NotYet => None,
    }
}

/// Whatever others have noted on the object stays.
fn metadata(is: &ObjectMeta, observed: &Observed, settings: &Settings) -> ObjectMeta {
    let mut metadata = is.clone();
    metadata.name = Some(settings.name.clone());
    metadata
        .labels
        .get_or_insert_default()
        .insert(well_known::LABEL_MANAGED_BY.to_owned(), well_known::MANAGED_BY.to_owned());
    if let Some(owner) = observed.owner.reference() {
        // One of the same name and another UID is gone, and would take the configuration with it.
        metadata.owner_references = Some(vec![owner.clone()]);
    }
    metadata
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use arcane_certs::{Authority, Lifetimes};
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference};

    use super::*;
    use crate::args::{FailurePolicy, Reached, Service, Url};
    use crate::registration::Callers;

    fn settings() -> Settings {
        Settings {
            name: "arcane-operator-webhook".into(),
            reached: Reached::Url(Url { host: "127.0.0.1".into(), port: Some(9443) }),
            callers: Callers::default(),
            failure_policy: FailurePolicy::Fail,
            namespaces: LabelSelector::default(),
        }
    }

    fn a_bundle() -> TrustBundle {
        let authority = Authority::create(Timestamp::UNIX_EPOCH, &Lifetimes::default()).unwrap();
        TrustBundle::default().with(authority.certificate())
    }

    fn observed() -> Observed {
        Observed {
            validating: None,
            mutating: None,
            owner: Owner::None,
            kinds: BTreeSet::new(),
            trust: Trust::Bundle(a_bundle()),
        }
    }

    /// What the API server holds after a plan was carried out.
    fn after(observed: &Observed, plan: &Plan) -> Observed {
        Observed {
            validating: plan.validating.clone().or_else(|| observed.validating.clone()),
            mutating: plan.mutating.clone().or_else(|| observed.mutating.clone()),
            ..observed.clone()
        }
    }

    fn registered() -> Observed {
        let nothing = observed();
        after(&nothing, &plan(&nothing, &settings()))
    }

    #[test]
    fn once_everything_is_said_nothing_is_written() {
        let registered = registered();
        assert!(registered.validating.is_some() && registered.mutating.is_some());
        assert_eq!(plan(&registered, &settings()), Plan::default());
    }

    #[test]
    fn before_its_time_and_without_its_owner_nothing_is_written() {
        let not_yet = Observed { trust: Trust::NotYet, ..observed() };
        assert_eq!(plan(&not_yet, &settings()), Plan::default());
        let uninstalled = Observed { owner: Owner::Missing, ..observed() };
        assert_eq!(plan(&uninstalled, &settings()), Plan::default());
    }

    #[test]
    fn whatever_somebody_changes_is_put_right_with_the_version_that_was_read() {
        let changes: [fn(&mut ValidatingWebhookConfiguration); 5] = [
            |it| it.webhooks = None,
            |it| it.webhooks.as_mut().unwrap()[0].client_config.ca_bundle = Some(ByteString(b"rubbish".to_vec())),
            |it| it.webhooks.as_mut().unwrap()[0].failure_policy = Some("Ignore".into()),
            |it| it.webhooks.as_mut().unwrap()[0].rules.as_mut().unwrap()[0].resources = Some(vec!["x".into()]),
            |it| it.webhooks.as_mut().unwrap()[1].match_conditions = None,
        ];
        for change in changes {
            let mut observed = registered();
            let right = observed.validating.clone().unwrap();
            let changed = observed.validating.as_mut().unwrap();
            change(changed);
            changed.metadata.resource_version = Some("7".into());
            let plan = plan(&observed, &settings());
            let written = plan.validating.unwrap();
            assert_eq!(written.metadata.resource_version.as_deref(), Some("7"));
            assert_eq!(written.webhooks, right.webhooks);
            assert_eq!(plan.mutating, None);
        }
    }

    #[test]
    fn where_it_is_limited_other_namespaces_are_not_shown_to_it() {
        let namespaces = LabelSelector {
            match_labels: Some([("team".to_owned(), "data".to_owned())].into()),
            ..LabelSelector::default()
        };
        let limited = Settings { namespaces: namespaces.clone(), ..settings() };
        let registered = registered();
        let plan = plan(&registered, &limited);
        let mutating = plan.mutating.clone().unwrap().webhooks.unwrap();
        let validating = plan.validating.clone().unwrap().webhooks.unwrap();
        assert!(mutating.iter().all(|entry| entry.namespace_selector.as_ref() == Some(&namespaces)));
        assert!(validating.iter().all(|entry| entry.namespace_selector.as_ref() == Some(&namespaces)));
        assert_eq!(super::plan(&after(&registered, &plan), &limited), Plan::default(), "it is said once");
    }

    #[test]
    fn a_kind_of_another_group_gets_and_loses_its_rule() {
        let kind = PluginKind { group: "plugins.example.com".into(), plural: "order-streams".into() };
        let with = Observed { kinds: [kind].into(), ..registered() };
        let written = plan(&with, &settings());
        for rules in [
            written.validating.as_ref().unwrap().webhooks.as_ref().unwrap()[0].rules.as_ref().unwrap(),
            written.mutating.as_ref().unwrap().webhooks.as_ref().unwrap()[0].rules.as_ref().unwrap(),
        ] {
            assert_eq!(rules.len(), 2);
            assert_eq!(rules[0].resources.as_deref(), Some(&["*".to_owned()][..]));
            assert_eq!(rules[1].api_groups.as_deref(), Some(&["plugins.example.com".to_owned()][..]));
            assert_eq!(rules[1].resources.as_deref(), Some(&["order-streams".to_owned()][..]));
        }
        let without = Observed { kinds: BTreeSet::new(), ..after(&with, &written) };
        let written = plan(&without, &settings());
        assert_eq!(written.validating.unwrap().webhooks.unwrap()[0].rules.as_ref().unwrap().len(), 1);
    }

    #[test]
    fn the_owner_is_the_one_that_is_there_and_what_others_noted_stays() {
        let owner = |uid: &str| OwnerReference {
            api_version: "rbac.authorization.k8s.io/v1".into(),
            kind: "ClusterRole".into(),
            name: "arcane-operator-webhook".into(),
            uid: uid.into(),
            ..OwnerReference::default()
        };
        let mut before = registered();
        let metadata = &mut before.validating.as_mut().unwrap().metadata;
        metadata.owner_references = Some(vec![owner("old")]);
        metadata.annotations = Some([("noted".to_owned(), "by somebody".to_owned())].into());
        let observed = Observed { owner: Owner::Found(owner("new")), ..before };
        let written = plan(&observed, &settings()).validating.unwrap().metadata;
        assert_eq!(written.owner_references, Some(vec![owner("new")]));
        assert_eq!(written.annotations.unwrap()["noted"], "by somebody");
    }

    #[test]
    fn a_bundle_that_somebody_else_writes_is_kept() {
        let mut observed = Observed { trust: Trust::AsItIs, ..registered() };
        let injected = Some(ByteString(b"injected".to_vec()));
        for entry in observed.validating.as_mut().unwrap().webhooks.as_mut().unwrap() {
            entry.client_config.ca_bundle = injected.clone();
        }
        assert_eq!(plan(&observed, &settings()).validating, None);
        observed.validating.as_mut().unwrap().webhooks.as_mut().unwrap()[0].timeout_seconds = Some(30);
        let written = plan(&observed, &settings()).validating.unwrap();
        assert!(written.webhooks.unwrap().iter().all(|entry| entry.client_config.ca_bundle == injected));
    }

    #[test]
    fn failures_and_namespaces_are_as_the_settings_say_and_deletions_never_wait_for_us() {
        let data = LabelSelector {
            match_labels: Some([("team".to_owned(), "data".to_owned())].into()),
            ..LabelSelector::default()
        };
        let settings = Settings { failure_policy: FailurePolicy::Ignore, namespaces: data.clone(), ..settings() };
        let lenient = plan(&observed(), &settings);
        let strict = plan(&observed(), &Settings { failure_policy: FailurePolicy::Fail, ..settings });
        let told = |plan: &Plan| -> Vec<(String, Option<LabelSelector>)> {
            let entries = plan.validating.clone().unwrap().webhooks.unwrap();
            entries.into_iter().map(|entry| (entry.failure_policy.unwrap(), entry.namespace_selector)).collect()
        };
        let both = Some(data);
        assert_eq!(told(&lenient), [("Ignore".to_owned(), both.clone()), ("Ignore".to_owned(), both.clone())]);
        assert_eq!(told(&strict), [("Fail".to_owned(), both.clone()), ("Ignore".to_owned(), both.clone())]);
        let mutating = strict.mutating.unwrap().webhooks.unwrap().remove(0);
        assert_eq!((mutating.failure_policy.as_deref(), mutating.namespace_selector), (Some("Ignore"), both));
    }

    #[test]
    fn a_service_is_called_by_its_name_and_path() {
        let service = Service { namespace: "arcane".into(), name: "w".into(), port: 443 };
        let settings = Settings { reached: Reached::Service(service), ..settings() };
        let written = plan(&observed(), &settings);
        let paths: Vec<String> = written
            .validating
            .unwrap()
            .webhooks
            .unwrap()
            .into_iter()
            .map(|entry| entry.client_config.service.unwrap().path.unwrap())
            .collect();
        assert_eq!(paths, ["/validate", "/validate"]);
    }
}
