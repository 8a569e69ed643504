//! The schemas of classes, compiled.

use std::{collections::HashMap, sync::Arc};

use serde_json::Value;

use super::stream_schema::{self, StreamSchema};
use crate::validation::Violation;

/// The schemas of classes, each compiled once for as long as it stays the same.
#[derive(Debug, Default)]
pub struct CompiledSchemas {
    by_class: HashMap<String, (Value, Compiled)>,
}

type Compiled = Result<Arc<StreamSchema>, Vec<Violation>>;

impl CompiledSchemas {
    /// The schema of a class, from its `spec.streamSchema`.
    ///
    /// # Errors
    /// Why it can't be used. Such a one was refused where the webhook saw it; it came while the webhook was away.
    pub fn of(&mut self, class: &str, schema: &Value) -> Result<Arc<StreamSchema>, Vec<Violation>> {
        if let Some((compiled_from, compiled)) = self.by_class.get(class)
            && compiled_from == schema
        {
            return compiled.clone();
        }
        let compiled = stream_schema::compile(schema).map(Arc::new);
        self.by_class.insert(class.to_owned(), (schema.clone(), compiled.clone()));
        compiled
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn it_is_compiled_once_and_again_when_it_changes() {
        let mut schemas = CompiledSchemas::default();
        let schema = json!({"type": "object"});
        let first = schemas.of("a", &schema).unwrap();
        assert!(Arc::ptr_eq(&first, &schemas.of("a", &schema).unwrap()));
        assert!(!Arc::ptr_eq(&first, &schemas.of("b", &schema).unwrap()));
        assert!(schemas.of("a", &json!("no schema")).is_err());
        assert!(!Arc::ptr_eq(&first, &schemas.of("a", &schema).unwrap()));
    }
}
