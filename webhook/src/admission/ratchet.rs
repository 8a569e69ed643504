//! An old problem never blocks an unrelated change.

use std::collections::HashMap;

use arcane_common::{
    field_path::FieldPath,
    validation::{Reason, Violation},
};
use serde_json::Value;

/// The violations of `object` that `old_object` doesn't have already.
///
/// A value that is wrong in the same way, but another value, is a new mistake. So is a second copy of a value that is
/// wrong, but not the one that has moved within its list.
pub fn only_new(
    violations: Vec<Violation>,
    object: &Value,
    old_violations: &[Violation],
    old_object: &Value,
) -> Vec<Violation> {
    let mut old: HashMap<Mistake<'_>, usize> = HashMap::new();
    for violation in old_violations {
        *old.entry(Mistake::of(violation, old_object)).or_default() += 1;
    }
    let is_new = |violation: &Violation| match old.get_mut(&Mistake::of(violation, object)) {
        Some(left) if *left > 0 => {
            *left -= 1;
            false
        }
        _ => true,
    };
    violations.into_iter().filter(is_new).collect()
}

/// What two violations have in common that are the same mistake.
#[derive(PartialEq, Eq, Hash)]
struct Mistake<'a> {
    path: FieldPath,
    reason: Reason,
    message: String,
    value: Option<&'a Value>,
}

impl<'a> Mistake<'a> {
    fn of(violation: &Violation, object: &'a Value) -> Self {
        let Violation { path, reason, message } = violation;
        let pointer = path.pointer();
        let value = match reason {
            Reason::Required | Reason::TooLong | Reason::Forbidden | Reason::Ignored | Reason::Unknown => None,
            // Whatever else changes in an object or list that is wrong as a whole, it is wrong as before.
            Reason::Invalid | Reason::NotFound | Reason::NotSupported | Reason::Duplicate => {
                object.pointer(&pointer).filter(|value| !value.is_object() && !value.is_array())
            }
        };
        // A message may repeat where it belongs.
        Self { path: path.without_indexes(), reason: *reason, message: message.replace(&pointer, ""), value }
    }
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

    #[test]
    fn the_same_mistake_of_an_object_is_old_whatever_else_is_in_it() {
        let wrong = || vec![Violation::invalid(FieldPath::root("spec"), "object", "must fit one of the alternatives")];
        let (x, y) = (json!({"spec": {"a": "x"}}), json!({"spec": {"a": "y"}}));
        assert!(only_new(wrong(), &y, &wrong(), &x).is_empty());
        let other = vec![Violation::invalid(FieldPath::root("spec"), "object", "must have at least 2 fields")];
        assert_eq!(only_new(other, &y, &wrong(), &x).len(), 1);
    }

    #[test]
    fn a_mistake_that_moves_within_its_list_is_old_and_a_copy_of_it_new() {
        let list = FieldPath::root("spec").child("list");
        let wrong = |index: usize| {
            let path = list.index(index);
            let message = format!("must match \"^[a-z]+$\" (by the class's streamSchema, at {})", path.pointer());
            Violation::invalid(path, "string", message)
        };
        let before = json!({"spec": {"list": ["a", "B"]}});
        let only_new = |object: Value, indexes: &[usize]| {
            let violations = indexes.iter().map(|index| wrong(*index)).collect();
            only_new(violations, &object, &[wrong(1)], &before)
        };
        assert_eq!(only_new(json!({"spec": {"list": ["x", "a", "B"]}}), &[2]), []);
        assert_eq!(only_new(json!({"spec": {"list": ["B"]}}), &[0]), []);
        assert_eq!(only_new(json!({"spec": {"list": ["a", "B", "B"]}}), &[1, 2]), [wrong(2)]);
        assert_eq!(only_new(json!({"spec": {"list": ["C", "a", "B"]}}), &[0, 2]), [wrong(0)]);
    }
}
