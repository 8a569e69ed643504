//! A class's `streamSchema`: a JSON Schema for the specs of its streams.
//!
//! A schema is a program that somebody else wrote and that runs in the webhook at every write, so it is read before
//! it is compiled: nothing is fetched, nothing recurses, and what one value can cost is bounded.

use std::{
    collections::{HashMap, HashSet},
    fmt, ptr,
};

use jsonschema::{
    PatternOptions, ValidationError, Validator,
    error::{TypeKind, ValidationErrorKind},
};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::context;
use crate::{
    field_path::FieldPath,
    validation::{MOST_VIOLATIONS, Violation, has_at_most},
};

/// The longest schema, as compact JSON.
pub const MAX_BYTES: usize = 128 * 1024;

/// How deep schemas may lie within each other, references followed.
pub const MAX_DEPTH: usize = 64;

/// How many schemas there may be, references followed: a schema that refers to another one three times counts it
/// three times, for it is evaluated three times.
pub const MAX_SCHEMAS: usize = 10_000;

/// How many times a schema may meet a value when a spec is checked: each schema meets each value at most once, most far
/// less often. A tenth of a second or two.
const MAX_MEETINGS: usize = 4_000_000;

/// How many patterns there may be, and how big one of them may become.
const MAX_PATTERNS: usize = 200;
const MAX_PATTERN_BYTES: usize = 256 * 1024;

/// What patterns may cost: the bytes of all of them, compiled, by the bytes of the spec. Each letter may meet each state.
const MAX_PATTERN_COST: usize = 1 << 32;

/// How much may be told of a spec before it is cut: what is wrong is collected first, all of it, in pieces of about half a KiB.
const MAX_TOLD: usize = 400_000;

/// How many bytes of a spec such a piece has room for.
const TOLD_BYTES: usize = 512;

/// How many letters of a list of words are told.
const MAX_WORDS: usize = 1024;

/// How many mistakes of a schema are told.
const MAX_MISTAKES: usize = 20;

/// Keywords whose value is a schema.
const ONE: [&str; 12] = [
    "additionalItems",
    "additionalProperties",
    "contains",
    "contentSchema",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];

/// Keywords whose value is a list of schemas.
const LIST: [&str; 5] = ["allOf", "anyOf", "items", "oneOf", "prefixItems"];

/// Keywords whose value is a map of schemas.
const MAP: [&str; 4] = ["dependencies", "dependentSchemas", "patternProperties", "properties"];

/// Keywords whose schemas' mistakes are collected to become a part of one.
const ALTERNATIVES: [&str; 3] = ["anyOf", "oneOf", "propertyNames"];

/// Keywords that tell all fields or elements that there shouldn't be.
const UNEXPECTED: [&str; 4] = ["additionalItems", "additionalProperties", "unevaluatedItems", "unevaluatedProperties"];

/// Keywords under which schemas are kept for references.
const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];

/// A schema that specs can be checked against.
#[derive(Clone)]
pub struct StreamSchema {
    validator: Validator,
    costs: Costs,
}

/// What a check may cost. What is referred to counts as often as it is referred to.
#[derive(Clone, Copy, Default)]
struct Costs {
    /// How many schemas there are.
    schemas: usize,
    /// How big all patterns are together, compiled.
    pattern_bytes: usize,
    /// How many lists and objects a value is compared with, one after the other.
    options: usize,
    /// How much may be told of a value: each schema, each field that must be there, and what is repeated of a schema.
    told: usize,
    /// How much of it is collected even where only the first mistake is asked for.
    told_of_alternatives: usize,
    /// How many schemas keep a copy of what doesn't fit them.
    copies: usize,
}

impl fmt::Debug for StreamSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamSchema").finish_non_exhaustive()
    }
}

/// Reads a class's `spec.streamSchema`.
///
/// # Errors
/// All reasons why it can't be used.
pub fn compile(schema: &Value) -> Result<StreamSchema, Vec<Violation>> {
    let root = FieldPath::root("spec").child("streamSchema");
    if !schema.is_object() {
        return Err(vec![Violation::invalid(root, kind_of(schema), "must be an object: a JSON Schema")]);
    }
    let bytes = schema.to_string().len();
    if bytes > MAX_BYTES {
        let message = format!("{} KiB; a schema may have at most {} KiB", bytes / 1024, MAX_BYTES / 1024);
        return Err(vec![Violation::too_long(root, message)]);
    }
    let mut reader = Reader::new(schema, root.clone());
    reader.read(schema, &root, &mut Vec::new(), 0);
    for keyword in DEFINITIONS {
        for (name, definition) in schema.get(keyword).and_then(Value::as_object).into_iter().flatten() {
            reader.read(definition, &root.child(keyword).child(name), &mut Vec::new(), 1);
        }
    }
    if !reader.violations.is_empty() {
        return Err(reader.violations);
    }
    let costs = reader.costs;
    jsonschema::options()
        .offline()
        .with_pattern_options(
            PatternOptions::regex().size_limit(MAX_PATTERN_BYTES).dfa_size_limit(4 * MAX_PATTERN_BYTES),
        )
        .should_validate_formats(true)
        .build(schema)
        .map(|validator| StreamSchema { validator, costs })
        .map_err(|error| {
            let path = root.follow(schema, error.instance_path().as_str());
            vec![Violation::invalid(path, kind_of(error.instance()), format!("is no JSON Schema: {}", words(&error)))]
        })
}

/// Checks a stream's spec. Values are never repeated: a secret may be among them.
pub fn check(schema: &StreamSchema, spec: &Value) -> Vec<Violation> {
    let root = FieldPath::root("spec");
    let StreamSchema { validator, costs } = schema;
    let most = MAX_MEETINGS / costs.schemas.saturating_add(costs.options).max(1);
    if !has_at_most(most, spec) {
        let message =
            format!("more than {most} fields and elements, too many for the class's streamSchema, which is large");
        return vec![Violation::too_long(root, message)];
    }
    let most = MAX_PATTERN_COST / costs.pattern_bytes.max(1);
    let bytes = spec.to_string().len();
    if most < context::MAX_ENVIRONMENT_STRING && bytes > most {
        let message =
            format!("more than {most} bytes, too many for the patterns of the class's streamSchema, which are large");
        return vec![Violation::too_long(root, message)];
    }
    if validator.is_valid(spec) {
        return Vec::new();
    }
    let (values, copied) = (values_in(spec), costs.copies.saturating_mul(bytes) / TOLD_BYTES);
    let is_too_much = |told: usize| values.saturating_mul(told).saturating_add(copied) > MAX_TOLD;
    if is_too_much(costs.told_of_alternatives) {
        let message =
            "doesn't fit the class's streamSchema; with a schema and a spec as large as these it can't be told where";
        return vec![Violation::invalid(root, kind_of(spec), message)];
    }
    if is_too_much(costs.told) {
        return validator.validate(spec).err().map_or_else(Vec::new, |error| violations_of(&root, spec, &error));
    }
    let mut seen = HashSet::new();
    let mut violations: Vec<Violation> = Vec::new();
    for error in validator.iter_errors(spec) {
        for violation in violations_of(&root, spec, &error) {
            if seen.insert(violation.clone()) {
                violations.push(violation);
            }
            if violations.len() >= MOST_VIOLATIONS {
                return violations;
            }
        }
    }
    violations
}

fn violations_of(root: &FieldPath, spec: &Value, error: &ValidationError<'_>) -> Vec<Violation> {
    let path = root.follow(spec, error.instance_path().as_str());
    let by = |path: &FieldPath| format!("by the class's streamSchema, at {}", path.pointer());
    match error.kind() {
        ValidationErrorKind::Required { property } => {
            let path = path.child(property.as_str().unwrap_or_default());
            let message = format!("must be set ({})", by(&path));
            vec![Violation::required(path, message)]
        }
        // One for each: who takes one of them away has mended it, whatever is left.
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => unexpected
            .iter()
            .take(MOST_VIOLATIONS)
            .map(|field| {
                let path = path.child(field);
                let message = format!("must not be set ({})", by(&path));
                Violation::forbidden(path, message)
            })
            .collect(),
        _ => {
            let message = format!("{} ({})", words(error), by(&path));
            vec![Violation::invalid(path, kind_of(error.instance()), message)]
        }
    }
}

/// What was expected, without the value that was found.
pub(crate) fn words(error: &ValidationError<'_>) -> String {
    match error.kind() {
        ValidationErrorKind::Type { kind: TypeKind::Single(wanted) } => format!("must be of type {wanted}"),
        ValidationErrorKind::Type { kind: TypeKind::Multiple(wanted) } => {
            let wanted: Vec<String> = wanted.iter().map(|wanted| wanted.to_string()).collect();
            format!("must be of type {}", wanted.join(" or "))
        }
        ValidationErrorKind::Enum { options } => {
            let mut words = String::new();
            for option in options.as_array().into_iter().flatten() {
                if words.len() > MAX_WORDS {
                    words += ", ...";
                    break;
                }
                words = if words.is_empty() { option.to_string() } else { format!("{words}, {option}") };
            }
            format!("must be one of {words}")
        }
        ValidationErrorKind::Constant { expected_value } => format!("must be {expected_value}"),
        ValidationErrorKind::Minimum { limit } => format!("must be at least {limit}"),
        ValidationErrorKind::Maximum { limit } => format!("must be at most {limit}"),
        ValidationErrorKind::ExclusiveMinimum { limit } => format!("must be more than {limit}"),
        ValidationErrorKind::ExclusiveMaximum { limit } => format!("must be less than {limit}"),
        ValidationErrorKind::MinLength { limit } => format!("must have at least {limit} characters"),
        ValidationErrorKind::MaxLength { limit } => format!("must have at most {limit} characters"),
        ValidationErrorKind::MinItems { limit } => format!("must have at least {limit} elements"),
        ValidationErrorKind::MaxItems { limit } => format!("must have at most {limit} elements"),
        ValidationErrorKind::MinProperties { limit } => format!("must have at least {limit} fields"),
        ValidationErrorKind::MaxProperties { limit } => format!("must have at most {limit} fields"),
        ValidationErrorKind::Pattern { pattern } => format!("must match {pattern:?}"),
        ValidationErrorKind::Format { format } => format!("must be of format {format}"),
        ValidationErrorKind::UniqueItems => "must not have an element twice".to_owned(),
        ValidationErrorKind::AnyOf { .. } | ValidationErrorKind::OneOfNotValid { .. } => {
            "must fit one of the alternatives that the schema gives".to_owned()
        }
        ValidationErrorKind::OneOfMultipleValid { .. } => {
            "must fit only one of the alternatives that the schema gives".to_owned()
        }
        _ => error.masked_with("the value").to_string(),
    }
}

/// The type of a value, never the value.
pub(crate) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// How big a pattern is, compiled: about the next power of four. One that doesn't compile is refused later.
fn size_of(pattern: &str) -> usize {
    // As it is in JSON Schema: these are ASCII there, and far smaller.
    let pattern = pattern.replace(r"\w", "[A-Za-z0-9_]").replace(r"\d", "[0-9]").replace(r"\s", "[ ]");
    let fits = |limit: &usize| regex::RegexBuilder::new(&pattern).size_limit(*limit).build().is_ok();
    [1024, 4 * 1024, 16 * 1024, 64 * 1024].into_iter().find(fits).unwrap_or(MAX_PATTERN_BYTES)
}

/// The pointer that a reference's fragment means, decoded as the compiler does it; none where two readers might not agree.
fn meant_by(fragment: &str) -> Option<String> {
    let pointer = percent_decode_str(fragment).decode_utf8().ok()?;
    pointer.split('~').skip(1).all(|rest| rest.starts_with(['0', '1'])).then(|| pointer.into_owned())
}

fn values_in(value: &Value) -> usize {
    let below = match value {
        Value::Array(elements) => elements.iter().map(values_in).sum(),
        Value::Object(fields) => fields.values().map(values_in).sum(),
        _ => 0,
    };
    below + 1
}

/// How much is told of what lacks the fields that this keyword asks for.
fn fields_asked_for(required: &Value) -> usize {
    match required {
        Value::Array(fields) => fields.len(),
        Value::Object(fields) => fields.values().filter_map(Value::as_array).map(Vec::len).sum(),
        _ => 0,
    }
}

fn lists_and_objects(options: &Value) -> usize {
    options.as_array().into_iter().flatten().filter(|option| option.is_array() || option.is_object()).count()
}

/// In pieces of half a KiB, as it lies in memory.
fn size_in_pieces(schema: &Value) -> usize {
    schema.to_string().len() / 8
}

/// Walks through a schema the way its evaluation would.
struct Reader<'a> {
    document: &'a Value,
    root: FieldPath,
    costs: Costs,
    patterns: usize,
    sizes: HashMap<&'a str, usize>,
    /// What was measured of values of the document, by where they lie.
    measured: HashMap<*const Value, usize>,
    /// Whether it reads what is one of several alternatives.
    is_alternative: bool,
    violations: Vec<Violation>,
}

impl<'a> Reader<'a> {
    fn new(document: &'a Value, root: FieldPath) -> Self {
        Self {
            document,
            root,
            costs: Costs::default(),
            patterns: 0,
            sizes: HashMap::new(),
            measured: HashMap::new(),
            is_alternative: false,
            violations: Vec::new(),
        }
    }

    fn read(&mut self, schema: &'a Value, path: &FieldPath, followed: &mut Vec<String>, depth: usize) {
        let Value::Object(fields) = schema else { return };
        self.costs.schemas += 1;
        if self.costs.schemas > MAX_SCHEMAS {
            let message = format!("has more than {MAX_SCHEMAS} schemas, each counted as often as it is referred to");
            return self.refuse_once(Violation::too_long(self.root.clone(), message));
        }
        if depth > MAX_DEPTH {
            let message = format!("schemas lie more than {MAX_DEPTH} deep within each other");
            return self.refuse_once(Violation::too_long(self.root.clone(), message));
        }
        self.read_keywords(fields, path);
        self.count(fields);
        let mut below: Vec<(&'a Value, FieldPath, &str)> = Vec::new();
        for keyword in ONE {
            below.extend(fields.get(keyword).map(|schema| (schema, path.child(keyword), keyword)));
        }
        for keyword in LIST {
            let schemas = fields.get(keyword).and_then(Value::as_array).into_iter().flatten().enumerate();
            below.extend(schemas.map(|(index, schema)| (schema, path.child(keyword).index(index), keyword)));
        }
        for keyword in MAP {
            let schemas = fields.get(keyword).and_then(Value::as_object).into_iter().flatten();
            below.extend(schemas.map(|(name, schema)| (schema, path.child(keyword).child(name), keyword)));
        }
        let is_alternative = self.is_alternative;
        for (schema, path, keyword) in below {
            self.is_alternative = is_alternative || ALTERNATIVES.contains(&keyword);
            self.read(schema, &path, followed, depth + 1);
        }
        self.is_alternative = is_alternative;
        if let Some(reference) = fields.get("$ref") {
            self.follow(reference, &path.child("$ref"), followed, depth);
        }
    }

    fn read_keywords(&mut self, fields: &'a Map<String, Value>, path: &FieldPath) {
        let is_root = *path == self.root;
        for keyword in ["$id", "id", "$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveRef", "$recursiveAnchor"] {
            let allowed = is_root && keyword.ends_with("id");
            // In later drafts, `id` is no keyword, and no schema has an object there.
            if !allowed && fields.get(keyword).is_some_and(|value| !value.is_object()) {
                self.refuse(Violation::forbidden(
                    path.child(keyword),
                    "not supported here: refer to schemas of this document by \"$ref\": \"#/$defs/...\"",
                ));
            }
        }
        if !is_root && fields.contains_key("$schema") {
            self.refuse(Violation::forbidden(path.child("$schema"), "belongs to the root of a schema"));
        }
        let of_properties = fields.get("patternProperties").and_then(Value::as_object).into_iter().flatten();
        let patterns = of_properties.map(|(pattern, _)| pattern.as_str());
        for pattern in patterns.chain(fields.get("pattern").and_then(Value::as_str)) {
            self.patterns += 1;
            if self.patterns <= MAX_PATTERNS {
                self.costs.pattern_bytes += *self.sizes.entry(pattern).or_insert_with(|| size_of(pattern));
            }
        }
        if self.patterns > MAX_PATTERNS {
            let message = format!("has more than {MAX_PATTERNS} patterns, each counted as often as it is referred to");
            self.refuse_once(Violation::too_long(self.root.clone(), message));
        }
    }

    /// Counts what a schema may cost, but for those below it.
    fn count(&mut self, fields: &'a Map<String, Value>) {
        let mut sum = |keywords: &[&str], measure: fn(&Value) -> usize| -> usize {
            let values = keywords.iter().filter_map(|keyword| fields.get(*keyword));
            values.map(|value| *self.measured.entry(ptr::from_ref(value)).or_insert_with(|| measure(value))).sum()
        };
        let options = sum(&["enum"], lists_and_objects);
        let asked_for = sum(&["required", "dependentRequired", "dependencies"], fields_asked_for);
        let told = 1 + asked_for + sum(&["not", "pattern"], size_in_pieces);
        let keeps_copies = self.is_alternative || UNEXPECTED.iter().any(|keyword| fields.contains_key(*keyword));
        self.costs.options += options;
        self.costs.told += told;
        self.costs.told_of_alternatives += if self.is_alternative { told } else { 0 };
        self.costs.copies += usize::from(keeps_copies);
    }

    fn follow(&mut self, reference: &Value, path: &FieldPath, followed: &mut Vec<String>, depth: usize) {
        let Some(reference) = reference.as_str() else { return };
        let local = reference.strip_prefix('#').filter(|pointer| pointer.is_empty() || pointer.starts_with('/'));
        let Some(pointer) = local else {
            return self.refuse(Violation::forbidden(
                path.clone(),
                format!(
                    "{reference:?}: other documents are never fetched; put the schema under $defs and refer to it \
                     by \"#/$defs/...\""
                ),
            ));
        };
        let pointer = meant_by(pointer);
        let target = pointer.as_ref().and_then(|pointer| Some((pointer, self.document.pointer(pointer)?)));
        let Some((pointer, target)) = target else {
            let message = "there is no such schema in this document";
            return self.refuse_once(Violation::not_found(path.clone(), reference, message));
        };
        if pointer.is_empty() || followed.contains(pointer) {
            let message = format!("{reference:?}: a schema must not refer to itself, directly or through others");
            return self.refuse_once(Violation::forbidden(path.clone(), message));
        }
        if self.is_within_another_document(pointer) {
            let message =
                format!("{reference:?}: leads through a schema with an $id, below which references mean another");
            return self.refuse_once(Violation::forbidden(path.clone(), message));
        }
        followed.push(pointer.clone());
        let target_path = self.root.follow(self.document, pointer);
        self.read(target, &target_path, followed, depth + 1);
        followed.pop();
    }

    /// Whether there is something on the way that says of itself that it is a document of its own.
    fn is_within_another_document(&self, pointer: &str) -> bool {
        let names_itself = |schema: &Value| ["$id", "id"].iter().any(|keyword| schema[keyword].is_string());
        let mut ends = pointer.match_indices('/').skip(1).map(|(end, _)| end);
        ends.any(|end| pointer.get(..end).and_then(|passed| self.document.pointer(passed)).is_some_and(names_itself))
    }

    fn refuse(&mut self, violation: Violation) {
        self.refuse_once(violation);
    }

    /// What is referred to twice is read twice, but wrong once.
    fn refuse_once(&mut self, violation: Violation) {
        if self.violations.len() < MAX_MISTAKES && !self.violations.contains(&violation) {
            self.violations.push(violation);
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn refusals(schema: &Value) -> Vec<String> {
        compile(schema).unwrap_err().iter().map(ToString::to_string).collect()
    }

    fn violations(schema: Value, spec: Value) -> Vec<String> {
        check(&compile(&schema).unwrap(), &spec).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_spec_that_breaks_it_is_told_where_and_what_is_expected() {
        let schema = json!({
            "type": "object",
            "required": ["server", "tables"],
            "properties": {
                "server": {"type": "object", "required": ["port"], "properties": {"port": {"$ref": "#/$defs/port"}}},
                "tables": {"type": "array", "items": {"type": "string", "pattern": "^[a-z]+$"}, "minItems": 1},
                "mode": {"enum": ["full", "changes"]},
            },
            "additionalProperties": false,
            "$defs": {"port": {"type": "integer", "minimum": 1}},
        });
        let spec = json!({"server": {"port": "hunter2"}, "mode": "hunter2", "colour": 1});
        let mut words = violations(schema.clone(), spec);
        words.sort();
        assert_eq!(
            words,
            [
                "spec.colour: Forbidden: must not be set (by the class's streamSchema, at /spec/colour)",
                "spec.mode: Invalid value: \"string\": must be one of \"full\", \"changes\" \
                 (by the class's streamSchema, at /spec/mode)",
                "spec.server.port: Invalid value: \"string\": must be of type integer \
                 (by the class's streamSchema, at /spec/server/port)",
                "spec.tables: Required value: must be set (by the class's streamSchema, at /spec/tables)",
            ]
        );
        assert_eq!(
            violations(schema.clone(), json!({"server": {"port": 0}, "tables": ["a", "B"]})),
            [
                "spec.server.port: Invalid value: \"number\": must be at least 1 \
                 (by the class's streamSchema, at /spec/server/port)",
                "spec.tables[1]: Invalid value: \"string\": must match \"^[a-z]+$\" \
                 (by the class's streamSchema, at /spec/tables/1)",
            ]
        );
        assert!(violations(schema, json!({"server": {"port": 1}, "tables": ["a"]})).is_empty());
    }

    #[test]
    fn a_large_spec_is_not_held_against_a_large_schema() {
        let schema = json!({"properties": {"list": {"items": {"anyOf": vec![json!({"type": "null"}); 4000]}}}});
        assert_eq!(violations(schema.clone(), json!({"list": vec![1; 5]})).len(), 5);
        let words = violations(schema, json!({"list": vec![1; 1000]}));
        assert_eq!(
            words,
            [
                "spec: Too long: more than 999 fields and elements, too many for the class's streamSchema, which is large"
            ]
        );
    }

    #[test]
    fn a_long_spec_is_not_held_against_very_many_large_patterns() {
        let schema = |patterns: Vec<Value>| json!({"properties": {"a": {"allOf": patterns}}});
        let large = (200..400).map(|count| json!({"pattern": format!("1[01]{{{count}}}[a-z]")})).collect();
        let large = compile(&schema(large)).unwrap();
        assert_eq!(check(&large, &json!({"a": "1".repeat(100)})).len(), 200);
        let words = check(&large, &json!({"a": "1".repeat(100_000)}))[0].to_string();
        assert!(words.starts_with("spec: Too long: more than ") && words.contains("the patterns of"), "{words}");
        let usual = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-\w]*[a-z0-9])?)*$|^\d+\s\w+$";
        let usual = compile(&schema(vec![json!({"pattern": usual}); 50])).unwrap();
        assert!(check(&usual, &json!({"a": "orders", "b": "x".repeat(20_000)})).is_empty());
    }

    /// All mistakes are collected before the first is told: these would be gigabytes.
    #[test]
    fn what_would_take_too_much_room_to_tell_is_told_in_part() {
        let names: Vec<String> = (0..2000).map(|number| format!("field{number}")).collect();
        let list = |items: Value| json!({"properties": {"a": {"items": items}}});
        let (empty, ones) = (json!({"a": vec![json!({}); 4000]}), json!({"a": vec![1; 4000]}));
        let told = violations(list(json!({"required": names})), empty.clone());
        let path = "spec.a[0].field0";
        assert_eq!(
            told,
            [format!("{path}: Required value: must be set (by the class's streamSchema, at /spec/a/0/field0)")]
        );
        for repeated in [json!({"not": {"not": {"enum": names}}}), json!({"not": {"description": "x".repeat(100_000)}})]
        {
            let told = violations(list(repeated), ones.clone());
            assert!(told.len() == 1 && told[0].starts_with("spec.a[0]: Invalid value: "), "{told:?}");
        }
        let pattern = json!({"pattern": "x".repeat(5000)});
        let told = violations(list(pattern), json!({"a": vec!["y"; 2000]}));
        assert!(told.len() == 1 && told[0].starts_with("spec.a[0]: Invalid value: "), "{} told", told.len());
        let alternatives = vec![json!({"required": names}); 5];
        let told = violations(list(json!({"anyOf": alternatives})), empty.clone());
        assert!(told.len() == 1 && told[0].starts_with("spec: Invalid value: \"object\": doesn't fit"), "{told:?}");
        let alternatives = vec![json!({"type": "null"}); 4000];
        let told = violations(json!({"anyOf": alternatives}), json!({"a": "x".repeat(100_000)}));
        assert!(told.len() == 1 && told[0].starts_with("spec: Invalid value: \"object\": doesn't fit"), "{told:?}");
        assert!(violations(list(json!({"anyOf": [{"required": names}, {}]})), empty).is_empty());
    }

    /// What an `enum` lists is compared one by one.
    #[test]
    fn a_large_spec_is_not_compared_with_very_many_objects() {
        let objects: Vec<Value> = (0..8000).map(|number| json!({"a": number})).collect();
        let schema = json!({"properties": {"a": {"items": {"enum": objects}}}});
        let told = violations(schema.clone(), json!({"a": vec![json!({"a": -1}); 5000]}));
        assert!(told.len() == 1 && told[0].starts_with("spec: Too long: more than 499 fields"), "{told:?}");
        assert!(violations(schema, json!({"a": vec![json!({"a": 1}); 100]})).is_empty());
    }

    #[test]
    fn of_very_many_violations_the_first_are_enough() {
        let spec = json!({"list": vec![1; 1000]});
        let words = violations(json!({"properties": {"list": {"items": {"type": "string"}}}}), spec);
        assert_eq!(words.len(), MOST_VIOLATIONS);
        let spec = Value::Object((0..1000).map(|number| (number.to_string(), json!(1))).collect());
        let words = violations(json!({"properties": {"a": {}}, "additionalProperties": false}), spec);
        assert_eq!(words.len(), MOST_VIOLATIONS);
    }

    #[rstest]
    #[case(json!(true), "spec.streamSchema: Invalid value: \"boolean\": must be an object")]
    #[case(json!([]), "spec.streamSchema: Invalid value: \"array\": must be an object")]
    #[case(json!({"type": "text"}), "spec.streamSchema.type: Invalid value: \"string\": is no JSON Schema")]
    #[case(json!({"properties": {"a": {"$ref": "https://example.com/s.json"}}}),
        "spec.streamSchema.properties.a.$ref: Forbidden: \"https://example.com/s.json\": other documents are never")]
    #[case(json!({"items": {"$ref": "file:///etc/passwd"}}), "spec.streamSchema.items.$ref: Forbidden")]
    #[case(json!({"$id": "https://example.com/a", "items": {"$ref": "b#/c"}}), "spec.streamSchema.items.$ref: Forbidden")]
    #[case(json!({"$schema": "https://example.com/meta"}), "spec.streamSchema: Invalid value")]
    #[case(json!({"items": {"$schema": "https://example.com/meta"}}), "spec.streamSchema.items.$schema: Forbidden")]
    #[case(json!({"items": {"$id": "https://example.com/"}}), "spec.streamSchema.items.$id: Forbidden")]
    #[case(json!({"$dynamicRef": "#a"}), "spec.streamSchema.$dynamicRef: Forbidden")]
    #[case(json!({"$ref": "#"}), "spec.streamSchema.$ref: Forbidden: \"#\": a schema must not refer to itself")]
    #[case(json!({"$ref": "#/$defs/a", "$defs": {"a": {"items": {"$ref": "#/$defs/b"}}, "b": {"$ref": "#/$defs/a"}}}),
        "spec.streamSchema.$defs.b.$ref: Forbidden: \"#/$defs/a\": a schema must not refer to itself")]
    #[case(json!({"$ref": "#/$defs/a"}), "spec.streamSchema.$ref: Not found")]
    #[case(json!({"description": "x".repeat(MAX_BYTES)}), "spec.streamSchema: Too long: 128 KiB")]
    #[case(json!({"pattern": "(?=a)b"}), "spec.streamSchema.pattern: Invalid value")]
    #[case(json!({"pattern": "(a)\\1"}), "spec.streamSchema.pattern: Invalid value")]
    #[case(json!({"pattern": "((a{99}){99}){99}"}), "spec.streamSchema.pattern: Invalid value")]
    #[case(json!({"pattern": "("}), "spec.streamSchema.pattern: Invalid value")]
    #[case(json!({"patternProperties": {"(?!a)": {}}}), "spec.streamSchema")]
    fn a_bad_or_dangerous_schema_is_refused(#[case] schema: Value, #[case] beginning: &str) {
        let words = refusals(&schema);
        assert!(words[0].starts_with(beginning), "{words:?}");
    }

    #[test]
    fn a_schema_that_doubles_itself_is_refused() {
        let mut definitions = Map::new();
        for level in 0..40 {
            let next = json!({"$ref": format!("#/$defs/l{}", level + 1)});
            definitions.insert(format!("l{level}"), json!({"allOf": [next, next]}));
        }
        definitions.insert("l40".to_owned(), json!({"type": "object"}));
        let words = refusals(&json!({"$ref": "#/$defs/l0", "$defs": definitions}));
        let expected = "spec.streamSchema: Too long: has more than 10000 schemas";
        assert!(words.iter().any(|words| words.starts_with(expected)), "{words:?}");
    }

    /// The compiler decodes what is escaped with `%`: what looks like a few small schemas would be very many to it.
    #[rstest]
    #[case("%23", "#")]
    #[case("%6C", "l")]
    #[case("%6cl", "ll")]
    fn a_schema_that_doubles_itself_by_escaped_references_is_refused(#[case] escaped: &str, #[case] meant: &str) {
        let mut definitions = Map::new();
        for level in 0..40 {
            let next = json!({"$ref": format!("#/$defs/{escaped}{}", level + 1)});
            definitions.insert(format!("{meant}{level}"), json!({"allOf": [next, next]}));
            definitions.insert(format!("{escaped}{level}"), json!({}));
        }
        definitions.insert(format!("{meant}40"), json!({}));
        definitions.insert(format!("{escaped}40"), json!({}));
        let words = refusals(&json!({"$ref": format!("#/$defs/{escaped}0"), "$defs": definitions}));
        let expected = "spec.streamSchema: Too long: has more than 10000 schemas";
        assert!(words.iter().any(|words| words.starts_with(expected)), "{words:?}");
    }

    #[rstest]
    #[case("#/$defs/a%20b", "a b")]
    #[case("#/$defs/a%25b", "a%b")]
    #[case("#/$defs/a%2525b", "a%25b")]
    #[case("#/$defs/List%3Cstring%3E", "List<string>")]
    #[case("#/$defs/%C3%A9", "\u{e9}")]
    #[case("#/$defs/a~1b~0c", "a/b~c")]
    #[case("#/$defs/a%7E1b", "a/b")]
    #[case("#%2F$defs/a", "")]
    #[case("#/$defs%2Fa", "a")]
    fn an_escaped_reference_leads_where_it_says(#[case] reference: &str, #[case] name: &str) {
        let schema = json!({"$ref": reference, "$defs": {name: {"required": ["port"]}}});
        if name.is_empty() {
            assert!(refusals(&schema)[0].starts_with("spec.streamSchema.$ref: Forbidden"), "{:?}", refusals(&schema));
        } else {
            assert_eq!(violations(schema, json!({})).len(), 1);
        }
    }

    #[rstest]
    #[case("#/$defs/%FF")]
    #[case("#/$defs/~~1")]
    #[case("#/$defs/~")]
    #[case("#/$defs/~2")]
    #[case("#/allOf/00")]
    #[case("#/allOf/+0")]
    fn a_reference_that_could_be_read_in_two_ways_is_refused(#[case] reference: &str) {
        let definitions = json!({"\u{fffd}": {}, "~/": {}, "~~1": {}, "~": {}, "~2": {}});
        let words = refusals(&json!({"not": {"$ref": reference}, "allOf": [{}], "$defs": definitions}));
        assert!(words[0].starts_with("spec.streamSchema.not.$ref: Not found"), "{words:?}");
    }

    /// Below an `$id` references start from there: this would be one small schema here, and one that refers to itself to the compiler.
    #[rstest]
    #[case("$id")]
    #[case("id")]
    fn a_reference_past_another_document_is_refused(#[case] keyword: &str) {
        let inner = json!({keyword: "https://example.com/", "properties": {"b": {"$ref": "#/properties/b"}}});
        let schema = json!({
            "$ref": "#/properties/a/$defs/x/properties/b",
            "properties": {"a": {"$defs": {"x": inner}}, "b": {}},
        });
        let words = refusals(&schema);
        let expected = "spec.streamSchema.$ref: Forbidden: \"#/properties/a/$defs/x/properties/b\": leads through";
        assert!(words.iter().any(|words| words.starts_with(expected)), "{words:?}");
    }

    #[test]
    fn a_schema_that_is_too_deep_is_refused() {
        let mut schema = json!({});
        for _ in 0..=MAX_DEPTH {
            schema = json!({"not": schema});
        }
        assert!(refusals(&schema)[0].starts_with("spec.streamSchema: Too long: schemas lie more than 64 deep"));
    }

    #[test]
    fn patterns_are_matched_in_linear_time() {
        let schema = json!({"properties": {"a": {"pattern": "^(a+)+$"}}});
        let spec = json!({"a": format!("{}b", "a".repeat(100_000))});
        assert_eq!(violations(schema, spec).len(), 1);
    }

    #[test]
    fn fields_named_like_keywords_are_fields() {
        let schema = json!({"properties": {"$ref": {"type": "string"}, "$id": {"type": "string"}, "pattern": {}}});
        assert!(violations(schema, json!({"$ref": "x"})).is_empty());
    }
}
