//! Any JSON as a class's `streamSchema` and a spec: refused or quick, and no other document is ever fetched.
#![no_main]

#[allow(dead_code, missing_docs)]
#[path = "../../common/tests/odd/judged.rs"]
mod judged;

use arcane_fuzz::documents;
use libfuzzer_sys::{Corpus, fuzz_crossover, fuzz_mutator, fuzz_target};

const FRAGMENTS: [&str; 40] = [
    r##"{"$ref": "#/$defs/a"}"##,
    r##"{"$ref": "#/$defs/%61"}"##,
    r##"{"$ref": "#/properties/a/items"}"##,
    r##"{"$ref": "#"}"##,
    r##"{"$ref": "#a"}"##,
    r##"{"$ref": "http://127.0.0.1:1/s.json"}"##,
    r##"{"$ref": "file:///etc/passwd"}"##,
    r##"{"$ref": "b.json"}"##,
    r##"{"$defs": {"a": {"type": "integer"}, "b": {"$ref": "#/$defs/a"}}}"##,
    r##"{"definitions": {"a": {"$ref": "#/$defs/b"}, "%61": {}}}"##,
    r##"{"$id": "http://127.0.0.1:1/"}"##,
    r##"{"id": "http://127.0.0.1:1/"}"##,
    r##"{"$anchor": "a"}"##,
    r##"{"$dynamicAnchor": "a", "$dynamicRef": "#a"}"##,
    r##"{"$schema": "http://json-schema.org/draft-04/schema#"}"##,
    r##"{"$schema": "http://json-schema.org/draft-07/schema#"}"##,
    r##"{"$schema": "https://json-schema.org/draft/2019-09/schema"}"##,
    r##"{"$schema": "https://json-schema.org/draft/2020-12/schema"}"##,
    r##"{"allOf": [{}, {}], "anyOf": [{}, false], "oneOf": [true, {"type": "null"}], "not": {"type": "string"}}"##,
    r##"{"if": {"minProperties": 1}, "then": {"required": ["a"]}, "else": false}"##,
    r##"{"properties": {"a": {}, "b": {"type": ["array", "null"]}}, "additionalProperties": false}"##,
    r##"{"patternProperties": {"^[a-z]+$": {"pattern": "^(a+)+$"}}, "propertyNames": {"maxLength": 2}}"##,
    r##"{"items": {"items": {}}, "prefixItems": [{}], "contains": {"type": "integer"}, "minContains": 0, "maxContains": 1}"##,
    r##"{"additionalItems": false, "items": [{}, {}], "uniqueItems": true}"##,
    r##"{"dependentSchemas": {"a": {"required": ["b"]}}, "dependentRequired": {"a": ["b"]}, "dependencies": {"a": ["b"], "b": {}}}"##,
    r##"{"unevaluatedProperties": false, "unevaluatedItems": {"type": "string"}}"##,
    r##"{"pattern": "(a{1,99}){1,99}"}"##,
    r##"{"pattern": "(?!a)\\1"}"##,
    r##"{"pattern": "\\p{L}[^\\W\\d]*$"}"##,
    r##"{"format": "regex"}"##,
    r##"{"format": "idn-hostname"}"##,
    r##"{"format": "uri-template"}"##,
    r##"{"format": "duration"}"##,
    r##"{"multipleOf": 1e-300, "minimum": 9007199254740993, "exclusiveMaximum": 1e308}"##,
    r##"{"minLength": 18446744073709551615, "maxItems": 0, "maxProperties": 1.0}"##,
    r##"{"enum": [1, "a", null, [], {}], "const": {"a": 1}}"##,
    r##"{"contentEncoding": "base64", "contentMediaType": "application/json", "contentSchema": {"$ref": "x"}}"##,
    r##"{"$recursiveRef": "#", "$recursiveAnchor": true}"##,
    r##"{"$vocabulary": {"https://json-schema.org/draft/2020-12/vocab/core": true}}"##,
    r##"false"##,
];

fuzz_target!(|document: &[u8]| -> Corpus {
    let Ok(document) = serde_json::from_slice(document) else { return Corpus::Reject };
    judged::schema(&document);
    Corpus::Keep
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    documents::mutate(data, size, max_size, seed, &FRAGMENTS)
});

fuzz_crossover!(|one: &[u8], other: &[u8], out: &mut [u8], seed: u32| { documents::cross(one, other, out, seed) });
