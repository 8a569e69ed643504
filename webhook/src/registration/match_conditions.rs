//! Which requests the API server doesn't show us, in CEL.
//!
//! They are evaluated in the API server, before the call: what they leave out costs nothing, and goes through while
//! no webhook answers. An error in one would refuse the request under `failurePolicy: Fail`, so each is written such that
//! no object can make it fail: what a field holds is checked before its fields are looked at.

use arcane_common::api::well_known;
use k8s_openapi::api::admissionregistration::v1::MatchCondition;

/// Users of the cluster itself, who only carry out what others have asked for.
const OF_THE_CLUSTER: [&str; 3] = [
    "system:serviceaccount:kube-system:generic-garbage-collector",
    "system:serviceaccount:kube-system:namespace-controller",
    "system:kube-controller-manager",
];

/// Whose requests are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Callers {
    /// Users of ours: controller and webhook.
    pub ours: Vec<String>,
    /// Whether the users of the cluster itself are left out. Outside a cluster none is: there a person may be one of them.
    pub cluster: bool,
}

/// What a creation or change must be to be shown.
pub(super) fn of_writes(callers: &Callers) -> Vec<MatchCondition> {
    let mut conditions = of_callers(callers);
    conditions.push(condition("not-under-deletion", "!has(object.metadata.deletionTimestamp)".to_owned()));
    conditions.push(condition("changes-what-is-judged", format!("{IS_NEW} || !({SPEC_STAYS} && {})", class_stays())));
    conditions.push(condition(
        "is-more-than-a-suspension",
        format!("{IS_NEW} || !({IN_SPEC_ONLY_SUSPENDED_BECOMES_TRUE} && {})", class_stays()),
    ));
    conditions.push(condition(
        "is-more-than-a-suspension-below-execution",
        format!("{IS_NEW} || !({IN_EXECUTION_ONLY_SUSPENDED_BECOMES_TRUE} && {})", class_stays()),
    ));
    conditions
}

/// What a deletion must be to be shown.
pub(super) fn of_deletions(callers: &Callers) -> Vec<MatchCondition> {
    let mut conditions = of_callers(callers);
    conditions.push(condition("not-under-deletion", "!has(oldObject.metadata.deletionTimestamp)".to_owned()));
    conditions
}

/// Only streams have something to fill in.
pub(super) fn is_no_kind_of_ours() -> MatchCondition {
    let kinds = "['streamclasses', 'streamingjobtemplates', 'backfillrequests']";
    condition(
        "may-be-a-stream",
        format!("!(request.resource.group == '{}' && request.resource.resource in {kinds})", well_known::GROUP),
    )
}

fn of_callers(callers: &Callers) -> Vec<MatchCondition> {
    let mut conditions = Vec::new();
    let mut leave_out = |name: &str, users: Vec<String>| {
        if !users.is_empty() {
            let users = users.iter().map(|user| quoted(user)).collect::<Vec<_>>().join(", ");
            conditions.push(condition(name, format!("!(request.userInfo.username in [{users}])")));
        }
    };
    leave_out("not-by-arcane", callers.ours.clone());
    if callers.cluster {
        leave_out("not-by-the-cluster", OF_THE_CLUSTER.map(ToOwned::to_owned).to_vec());
    }
    conditions
}

const IS_NEW: &str = "request.operation != 'UPDATE'";

const SPEC_STAYS: &str =
    "has(object.spec) == has(oldObject.spec) && (!has(object.spec) || object.spec == oldObject.spec)";

/// The label that names the class is as before.
fn class_stays() -> String {
    let label = |object: &str| {
        format!("{object}.metadata.?labels[?'{label}'].orValue('')", label = well_known::LABEL_STREAM_CLASS)
    };
    format!("{} == {}", label("object"), label("oldObject"))
}

const IN_SPEC_ONLY_SUSPENDED_BECOMES_TRUE: &str = "has(object.spec) && has(oldObject.spec) \
    && type(object.spec) == map && type(oldObject.spec) == map \
    && has(object.spec.suspended) && object.spec.suspended == true \
    && object.spec.all(k, k == 'suspended' || (k in oldObject.spec && object.spec[k] == oldObject.spec[k])) \
    && oldObject.spec.all(k, k == 'suspended' || k in object.spec)";

const IN_EXECUTION_ONLY_SUSPENDED_BECOMES_TRUE: &str = "has(object.spec) && has(oldObject.spec) \
    && type(object.spec) == map && type(oldObject.spec) == map \
    && has(object.spec.execution) && has(oldObject.spec.execution) \
    && type(object.spec.execution) == map && type(oldObject.spec.execution) == map \
    && has(object.spec.execution.suspended) && object.spec.execution.suspended == true \
    && object.spec.all(k, k == 'execution' || (k in oldObject.spec && object.spec[k] == oldObject.spec[k])) \
    && oldObject.spec.all(k, k in object.spec) \
    && object.spec.execution.all(k, k == 'suspended' || (k in oldObject.spec.execution \
        && object.spec.execution[k] == oldObject.spec.execution[k])) \
    && oldObject.spec.execution.all(k, k == 'suspended' || k in object.spec.execution)";

fn condition(name: &str, expression: String) -> MatchCondition {
    MatchCondition { name: name.to_owned(), expression }
}

/// A string of CEL.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'").replace('\n', "\\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_a_cluster_no_user_is_left_out() {
        let names = |callers: &Callers| -> Vec<String> { of_writes(callers).into_iter().map(|it| it.name).collect() };
        let outside = names(&Callers::default());
        assert!(!outside.iter().any(|name| name.starts_with("not-by")), "{outside:?}");
        let inside = names(&Callers { ours: vec!["a".into()], cluster: true });
        assert_eq!(inside[..2], ["not-by-arcane", "not-by-the-cluster"]);
        assert_eq!(inside[2..], outside[..]);
    }

    #[test]
    fn a_name_can_not_break_out_of_its_quotes() {
        assert_eq!(quoted(r"a'] || true || '\"), r"'a\'] || true || \'\\'");
    }
}
