//! The `v1` layout: below `spec.execution`, with the backfill template beside the backend.

use super::layout::{Fields, Reader, StreamDefinition};

pub(super) fn read(reader: &mut Reader<'_>, spec: &Fields<'_>) -> Option<StreamDefinition> {
    let execution = reader.object(spec, "execution")?;
    reader.suspended(&execution);
    let backfill_template = reader.template(&execution, "backfillJobTemplateRef");
    let workload = reader.backend(&execution);
    Some(StreamDefinition { workload: workload?, backfill_template })
}
