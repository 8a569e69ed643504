//! An old problem never blocks an unrelated change.

use std::collections::HashSet;

use arcane_common::{
    field_path::FieldPath,
    validation::{Reason, Violation},
};
use serde_json::Value;

/// The violations of `object` that `old_object` doesn't have already.
///
/// A value that is wrong in the same way, but another value, is a new mistake.
pub fn only_new(
    violations: Vec<Violation>,
    object: &Value,
    old_violations: &[Violation],
    old_object: &Value,
) -> Vec<Violation> {
    let old_violations: HashSet<&Violation> = old_violations.iter().collect();
    let is_old = |violation: &Violation| {
        old_violations.contains(violation)
            && match violation.reason {
                Reason::Required | Reason::TooLong | Reason::Forbidden | Reason::Ignored | Reason::Unknown => true,
                Reason::Invalid | Reason::NotFound | Reason::NotSupported | Reason::Duplicate => {
                    at(object, &violation.path) == at(old_object, &violation.path)
                }
            }
    };
    violations.into_iter().filter(|violation| !is_old(violation)).collect()
}

fn at<'a>(object: &'a Value, path: &FieldPath) -> Option<&'a Value> {
    object.pointer(&path.pointer())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_same_mistake_at_another_value_is_new() {
        let path = FieldPath::root("spec").child("a");
        let wrong = || vec![Violation::invalid(path.clone(), "string", "must be a number")];
        let (x, y) = (json!({"spec": {"a": "x"}}), json!({"spec": {"a": "y"}}));
        assert!(only_new(wrong(), &x, &wrong(), &x).is_empty());
        assert_eq!(only_new(wrong(), &y, &wrong(), &x).len(), 1);
        assert_eq!(only_new(wrong(), &x, &[], &x).len(), 1);
        let required = || vec![Violation::required(path.clone(), "set it")];
        assert!(only_new(required(), &json!({}), &required(), &json!({"spec": {}})).is_empty());
    }
}
