//! What our configurations shall say.

use std::collections::BTreeSet;

use arcane_common::api::{StreamClass, well_known};
use arcane_common::validation::validate_group_of_class;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhook, RuleWithOperations, ServiceReference, ValidatingWebhook, WebhookClientConfig,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::match_conditions::{self, Callers};
use crate::args::{FailurePolicy, Reached, Service};

/// How long the API server waits for an answer about a creation or change.
const PATIENCE_SECONDS: i32 = 5;
/// How long it waits for one about a deletion, which is only warned of.
const PATIENCE_SECONDS_DELETION: i32 = 1;

/// What doesn't change while the process runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The name of both configurations.
    pub name: String,
    /// How the API server reaches us.
    pub reached: Reached,
    /// Whose requests are left out.
    pub callers: Callers,
    /// What becomes of creations and changes that nobody answers.
    pub failure_policy: FailurePolicy,
    /// The namespaces in which we judge; objects that are in none are always judged.
    pub namespaces: LabelSelector,
}

/// A kind of stream in a group that isn't ours.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PluginKind {
    /// Its group.
    pub group: String,
    /// Its plural name.
    pub plural: String,
}

impl PluginKind {
    /// The kind of a class, if it needs a rule of its own. A class of a group that admission refuses came while the
    /// webhook was away, and gets none: its kind may be anybody's.
    pub fn of(class: &StreamClass) -> Option<Self> {
        let group = class.spec.group();
        let is_a_plugins = group != well_known::GROUP && validate_group_of_class(group).is_ok();
        is_a_plugins.then(|| Self { group: group.to_owned(), plural: class.spec.plural_name.clone() })
    }

    /// The name of its CustomResourceDefinition.
    pub fn definition(&self) -> String {
        format!("{}.{}", self.plural, self.group)
    }
}

/// The rules by which creations and changes are shown to us: of all kinds of our group, and of these.
pub fn rules_for(kinds: &BTreeSet<PluginKind>) -> Vec<RuleWithOperations> {
    let writes = ["CREATE", "UPDATE"];
    let mut rules = vec![rule(&writes, well_known::GROUP, &["*"])];
    rules.extend(kinds.iter().map(|kind| rule(&writes, &kind.group, &[&kind.plural])));
    rules
}

fn rule(operations: &[&str], group: &str, resources: &[&str]) -> RuleWithOperations {
    let texts = |texts: &[&str]| Some(texts.iter().map(|text| (*text).to_owned()).collect());
    RuleWithOperations {
        api_groups: texts(&[group]),
        api_versions: texts(&["*"]),
        operations: texts(operations),
        resources: texts(resources),
        scope: Some("*".to_owned()),
    }
}

/// The entries of the ValidatingWebhookConfiguration, without the bundle. Everything that the API server would fill in
/// is said, so that what is read back is what was written.
pub fn wanted_validating(settings: &Settings, kinds: &BTreeSet<PluginKind>) -> Vec<ValidatingWebhook> {
    let entry = ValidatingWebhook {
        admission_review_versions: vec!["v1".to_owned()],
        client_config: client_config(&settings.reached, "/validate"),
        failure_policy: Some(settings.failure_policy.to_string()),
        match_conditions: Some(match_conditions::of_writes(&settings.callers)),
        match_policy: Some("Equivalent".to_owned()),
        name: format!("validate.{}", well_known::GROUP),
        namespace_selector: Some(settings.namespaces.clone()),
        object_selector: Some(LabelSelector::default()),
        rules: Some(rules_for(kinds)),
        side_effects: "None".to_owned(),
        timeout_seconds: Some(PATIENCE_SECONDS),
    };
    let deletions = ValidatingWebhook {
        name: format!("deletions.{}", well_known::GROUP),
        failure_policy: Some("Ignore".to_owned()),
        match_conditions: Some(match_conditions::of_deletions(&settings.callers)),
        rules: Some(vec![rule(&["DELETE"], well_known::GROUP, &["streamclasses", "streamingjobtemplates"])]),
        timeout_seconds: Some(PATIENCE_SECONDS_DELETION),
        ..entry.clone()
    };
    vec![entry, deletions]
}

/// The entries of the MutatingWebhookConfiguration, without the bundle.
pub fn wanted_mutating(settings: &Settings, kinds: &BTreeSet<PluginKind>) -> Vec<MutatingWebhook> {
    let mut conditions = match_conditions::of_writes(&settings.callers);
    conditions.push(match_conditions::is_no_kind_of_ours());
    vec![MutatingWebhook {
        admission_review_versions: vec!["v1".to_owned()],
        client_config: client_config(&settings.reached, "/mutate"),
        // The controller takes an absent namespace for the stream's own, too.
        failure_policy: Some("Ignore".to_owned()),
        match_conditions: Some(conditions),
        match_policy: Some("Equivalent".to_owned()),
        name: format!("mutate.{}", well_known::GROUP),
        namespace_selector: Some(settings.namespaces.clone()),
        object_selector: Some(LabelSelector::default()),
        reinvocation_policy: Some("Never".to_owned()),
        rules: Some(rules_for(kinds)),
        side_effects: "None".to_owned(),
        timeout_seconds: Some(PATIENCE_SECONDS),
    }]
}

fn client_config(reached: &Reached, path: &str) -> WebhookClientConfig {
    match reached {
        Reached::Url(url) => {
            WebhookClientConfig { ca_bundle: None::<ByteString>, service: None, url: Some(format!("{url}{path}")) }
        }
        Reached::Service(Service { namespace, name, port }) => WebhookClientConfig {
            ca_bundle: None,
            service: Some(ServiceReference {
                name: name.clone(),
                namespace: namespace.clone(),
                path: Some(path.to_owned()),
                port: Some(i32::from(*port)),
            }),
            url: None,
        },
    }
}

#[cfg(test)]
mod tests {
    use arcane_common::api::StreamClassSpec;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(None, None)]
    #[case(Some("acme.io"), Some("widgets.acme.io"))]
    #[case(Some("gateway.networking.k8s.io"), None)]
    #[case(Some("cluster.kubernetes.io"), None)]
    #[case(Some("apps"), None)]
    fn only_kinds_of_plugins_need_a_rule(#[case] group: Option<&str>, #[case] definition: Option<&str>) {
        let spec = StreamClassSpec {
            api_group_ref: group.map(ToOwned::to_owned),
            plural_name: "widgets".to_owned(),
            ..StreamClassSpec::default()
        };
        let kind = PluginKind::of(&StreamClass::new("widgets", spec));
        assert_eq!(kind.map(|kind| kind.definition()).as_deref(), definition);
    }
}
