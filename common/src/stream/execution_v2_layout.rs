//! The `v2` layout: below `spec.execution`, with the backfill template inside `changeCapture`.

use super::layout::{Fields, Reader, StreamDefinition};

pub(super) fn read(reader: &mut Reader<'_>, spec: &Fields<'_>) -> Option<StreamDefinition> {
    let execution = reader.object(spec, "execution")?;
    reader.suspended(&execution);
    let workload = reader.backend(&execution);
    let change_capture =
        reader.object(&execution, "streamingBackend").and_then(|backend| reader.object(&backend, "changeCapture"));
    let backfill_template =
        change_capture.and_then(|change_capture| reader.template(&change_capture, "backfillJobTemplateRef"));
    Some(StreamDefinition { workload: workload?, backfill_template })
}
